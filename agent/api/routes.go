package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Handler returns the routes, for a server of the caller's.
func (s *Server) Handler() http.Handler {
	n := s.node
	mux := http.NewServeMux()
	handle := func(path string, methods map[string]http.HandlerFunc) { mux.Handle(path, byMethod(methods)) }
	get := func(path string, read func(context.Context) (any, error)) {
		handle(path, map[string]http.HandlerFunc{http.MethodGet: s.reading(read)})
	}
	handle("/v1/state/{owner}", map[string]http.HandlerFunc{http.MethodPut: s.putState})
	get("/v1/state", func(context.Context) (any, error) { return n.States(), nil })
	get("/v1/observed", func(ctx context.Context) (any, error) { return n.Observed(ctx), nil })
	get("/v1/services", func(ctx context.Context) (any, error) { return n.Services(ctx) })
	get("/v1/backends", func(ctx context.Context) (any, error) { return n.Backends(ctx) })
	get("/v1/flows", func(ctx context.Context) (any, error) { return n.Flows(ctx) })
	get("/v1/drops", func(ctx context.Context) (any, error) { return n.Counters(ctx) })
	get("/v1/bgp", func(ctx context.Context) (any, error) { return n.BGP(ctx) })
	get("/v1/version", func(context.Context) (any, error) { return n.Version(), nil })
	get("/healthz", func(context.Context) (any, error) { return v1.Health{Status: v1.HealthOK}, nil })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, v1.Error{Message: fmt.Sprintf("nothing at %s; see GET /v1/observed", r.URL.Path)})
	})
	return mux
}

// byMethod answers 405, in JSON, for methods that a path does not have.
func byMethod(methods map[string]http.HandlerFunc) http.Handler {
	allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if h, ok := methods[method]; ok {
			h(w, r)
			return
		}
		w.Header().Set("Allow", allowed)
		fail(w, http.StatusMethodNotAllowed, v1.Error{
			Message: fmt.Sprintf("%s has no %s; use %s", r.URL.Path, r.Method, allowed),
		})
	})
}

// reading answers with what read returns.
func (s *Server) reading(read func(context.Context) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := read(r.Context())
		if err != nil {
			s.log.Warn("read failed", "path", r.URL.Path, "error", err)
			fail(w, http.StatusInternalServerError, v1.Error{Message: err.Error()})
			return
		}
		answer(w, http.StatusOK, v)
	}
}
