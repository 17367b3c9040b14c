package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/loop"
	"github.com/weir-lb/weir/controller/metrics"
)

// routes is the controller's API. Everything in it is read only.
//
//	GET /v1/controller  ControllerStatus
//	GET /healthz        Health, 503 until the first decision
//	GET /metrics        Prometheus' text format
func routes(l *loop.Loop, pushes *metrics.Pushes) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(metrics.Registry(l, pushes)))
	get := func(path string, read func() (int, any)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			status, body := read()
			answer(w, status, body)
		})
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, http.StatusMethodNotAllowed, v1.Error{Message: fmt.Sprintf("%s has no %s; use GET", path, r.Method)})
		})
	}
	get("/v1/controller", func() (int, any) { return http.StatusOK, l.Status() })
	get("/healthz", func() (int, any) {
		if !l.Ready() {
			return http.StatusServiceUnavailable, v1.Error{Message: "nothing is decided yet; ask again"}
		}
		return http.StatusOK, v1.Health{Status: v1.HealthOK}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, v1.Error{Message: fmt.Sprintf("nothing at %s; see GET /v1/controller", r.URL.Path)})
	})
	return mux
}

// answer writes v as JSON. An error of the connection is the client's affair.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
