package api

import (
	"encoding/json"
	"net/http"

	v1 "github.com/weir-lb/weir/api/v1"
)

// answer writes v as JSON. An error of the connection is the client's affair:
// the server cannot tell anybody.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, e v1.Error) { answer(w, status, e) }
