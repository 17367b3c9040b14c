package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/weir-lb/weir/agent"
	description "github.com/weir-lb/weir/api"
	v1 "github.com/weir-lb/weir/api/v1"
)

// route is one method of one path.
type route struct {
	method, path string
	// summary says in a few words what it is for.
	summary string
	// in is the type of the body, nil for none; out that of the answer, nil
	// where it is not JSON.
	in, out reflect.Type
	// refusals are the statuses besides 200 that it answers with.
	refusals []int
	serve    http.HandlerFunc
}

// routes are all there are.
func (s *Server) routes() []route {
	n := s.node
	return []route{
		{http.MethodPut, "/v1/state/{owner}", "Replace all that one owner wants", typeOf[v1.NodeState](), typeOf[v1.OwnerStatus](), bodyRefusals, s.putState},
		{http.MethodPatch, "/v1/state/{owner}", "Change some of what one owner wants", typeOf[v1.NodeChange](), typeOf[v1.OwnerStatus](), bodyRefusals, s.patchState},
		{http.MethodDelete, "/v1/state/{owner}", "Forget an owner and all that it wants", nil, typeOf[v1.OwnerStatus](), []int{http.StatusNotFound}, s.deleteState},
		{http.MethodPost, "/v1/drain", "Withdraw all service addresses, wait for the peers, then stop and leave nothing behind", nil, typeOf[v1.Health](), []int{http.StatusInternalServerError}, s.drain},
		get(s, "/v1/state", "What each owner wants", func(context.Context) (v1.DesiredState, error) { return n.States(), nil }),
		get(s, "/v1/owners", "How far each owner's state has come", func(context.Context) ([]v1.OwnerStatus, error) { return n.Owners(), nil }),
		{http.MethodGet, "/v1/owners/{owner}", "How an owner's services fare: those that lead nowhere, with the reason", nil, typeOf[v1.OwnerReport](), []int{http.StatusNotFound, http.StatusInternalServerError}, s.report},
		get(s, "/v1/observed", "Everything about the node", func(ctx context.Context) (v1.ObservedState, error) { return n.Observed(ctx), nil }),
		get(s, "/v1/services", "All services, refused ones with the reason", n.Services),
		get(s, "/v1/backends", "The backends of all services", n.Backends),
		get(s, "/v1/flows", "Both directions of every connection", n.Flows),
		get(s, "/v1/drops", "Packet totals, and drops by reason", n.Counters),
		get(s, "/v1/bgp", "The speaker, null while BGP is off or not configured", n.BGP),
		get(s, "/v1/version", "Which program this is", func(context.Context) (v1.Version, error) { return n.Version(), nil }),
		get(s, "/healthz", "Answers while the program works", func(context.Context) (v1.Health, error) { return v1.Health{Status: v1.HealthOK}, nil }),
		{http.MethodGet, "/metrics", "The node for Prometheus", nil, nil, []int{http.StatusServiceUnavailable}, s.metrics.ServeHTTP},
		{http.MethodGet, "/v1/openapi.json", "This description", nil, typeOf[json.RawMessage](), nil, describe},
	}
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// bodyRefusals are the answers to a body that is not taken.
var bodyRefusals = []int{
	http.StatusBadRequest, http.StatusRequestTimeout, http.StatusConflict,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
}

// describe answers with the document as it is committed.
func describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(description.OpenAPI) // an error is the client's affair, as in answer
}

// get is the route that answers with what read returns.
func get[T any](s *Server, path, summary string, read func(context.Context) (T, error)) route {
	return route{http.MethodGet, path, summary, nil, typeOf[T](), []int{http.StatusInternalServerError},
		func(w http.ResponseWriter, r *http.Request) {
			v, err := read(r.Context())
			if err != nil {
				s.unread(w, r, err)
				return
			}
			answer(w, http.StatusOK, v)
		}}
}

// unread answers for what the node could not read of itself.
func (s *Server) unread(w http.ResponseWriter, r *http.Request, err error) {
	s.log.Warn("read failed", "path", r.URL.Path, "error", err)
	fail(w, http.StatusInternalServerError, v1.Error{Message: err.Error()})
}

// report answers how an owner's services fare.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	report, err := s.node.Report(r.Context(), r.PathValue("owner"))
	switch {
	case errors.Is(err, agent.ErrNoOwner):
		fail(w, http.StatusNotFound, v1.Error{Message: err.Error()})
	case err != nil:
		s.unread(w, r, err)
	default:
		answer(w, http.StatusOK, report)
	}
}

// Handler returns the routes, for a server of the caller's.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	paths := map[string]map[string]http.HandlerFunc{}
	for _, r := range s.routes() {
		if paths[r.path] == nil {
			paths[r.path] = map[string]http.HandlerFunc{}
		}
		paths[r.path][r.method] = r.serve
	}
	for path, methods := range paths {
		mux.Handle(path, byMethod(methods))
	}
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
