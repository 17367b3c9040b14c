package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/metrics"
)

// routes is the controller's API. Everything in it is read only.
//
//	GET /v1/controller  ControllerStatus
//	GET /healthz        Health, while the program works
//	GET /readyz         Health, 503 until the first decision, or until it is known who leads instead
//	GET /metrics        Prometheus' text format
func routes(d *desk, pushes *metrics.Pushes) http.Handler {
	mux := probes(d)
	mux.Handle("GET /metrics", metrics.Handler(metrics.Registry(d, pushes)))
	get(mux, "/v1/controller", func() (int, any) { return http.StatusOK, d.Status() })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, v1.Error{Message: fmt.Sprintf("nothing at %s; see GET /v1/controller", r.URL.Path)})
	})
	return mux
}

// probes is the part of the API that tells nothing and that anyone may ask.
func probes(d *desk) *http.ServeMux {
	mux := http.NewServeMux()
	get(mux, "/healthz", func() (int, any) { return http.StatusOK, v1.Health{Status: v1.HealthOK} })
	get(mux, "/readyz", func() (int, any) {
		if lacks := d.notReady(); lacks != "" {
			return http.StatusServiceUnavailable, v1.Error{Message: lacks}
		}
		return http.StatusOK, v1.Health{Status: v1.HealthOK}
	})
	return mux
}

// get serves a path that is only read.
func get(mux *http.ServeMux, path string, read func() (int, any)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		status, body := read()
		answer(w, status, body)
	})
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, v1.Error{Message: fmt.Sprintf("%s has no %s; use GET", path, r.Method)})
	})
}

// answer writes v as JSON. An error of the connection is the client's affair.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
