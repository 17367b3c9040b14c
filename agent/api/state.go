package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"

	"github.com/weir-lb/weir/agent"
	v1 "github.com/weir-lb/weir/api/v1"
)

// putState takes the whole state of one owner.
func (s *Server) putState(w http.ResponseWriter, r *http.Request) {
	state, ok := decoded(s, w, r, v1.DecodeState)
	if !ok {
		return
	}
	result, err := s.node.Put(r.PathValue("owner"), state)
	s.taken(w, r, result, err, "services", len(state.Services))
}

// patchState takes a change to the state of one owner.
func (s *Server) patchState(w http.ResponseWriter, r *http.Request) {
	change, ok := decoded(s, w, r, v1.DecodeChange)
	if !ok {
		return
	}
	result, err := s.node.Patch(r.PathValue("owner"), change)
	s.taken(w, r, result, err, "upserted", len(change.Upsert), "removed", len(change.Remove))
}

// deleteState forgets an owner.
func (s *Server) deleteState(w http.ResponseWriter, r *http.Request) {
	result, err := s.node.Delete(r.PathValue("owner"))
	s.taken(w, r, result, err)
}

// decoded reads the body, or answers and returns false.
func decoded[T any](s *Server, w http.ResponseWriter, r *http.Request, decode func([]byte) (T, error)) (T, bool) {
	body, status, err := s.body(w, r)
	if err != nil {
		fail(w, status, v1.Error{Message: err.Error()})
		var none T
		return none, false
	}
	v, err := decode(body)
	if err != nil {
		s.refuse(w, r.PathValue("owner"), err)
	}
	return v, err == nil
}

// taken answers for what the node took, or did not.
func (s *Server) taken(w http.ResponseWriter, r *http.Request, result v1.OwnerStatus, err error, attrs ...any) {
	owner := r.PathValue("owner")
	if err != nil {
		s.refuse(w, owner, err)
		return
	}
	s.log.With(attrs...).Info("state accepted", "method", r.Method, "owner", owner,
		"generation", result.Desired.String(), "client", clientOf(r))
	answer(w, http.StatusOK, result)
}

// body reads a JSON body within the limits, or returns the status to fail
// with.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, http.StatusUnsupportedMediaType,
			fmt.Errorf("content type %q is not understood; send application/json", r.Header.Get("Content-Type"))
	}
	if r.ContentLength > s.limits.Body {
		return nil, http.StatusRequestEntityTooLarge, tooLarge(s.limits.Body)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.limits.Body))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, tooLarge(s.limits.Body)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, http.StatusRequestTimeout, fmt.Errorf("body did not come within %s; send it faster", s.limits.Read)
	}
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("read body: %w", err)
	}
	return body, 0, nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("body is over %d bytes; send fewer services", limit)
}

// refuse answers for a state that the node does not take.
func (s *Server) refuse(w http.ResponseWriter, owner string, err error) {
	s.log.Warn("state refused", "owner", owner, "error", err)
	if conflict, ok := errors.AsType[*agent.ConflictError](err); ok {
		fail(w, http.StatusConflict, v1.Error{Message: err.Error(), Current: &conflict.Current})
		return
	}
	if field, ok := errors.AsType[*v1.FieldError](err); ok {
		fail(w, http.StatusBadRequest, v1.Error{Message: err.Error(), Path: field.Path})
		return
	}
	status := http.StatusInternalServerError
	if errors.Is(err, agent.ErrNoOwner) {
		status = http.StatusNotFound
	}
	fail(w, status, v1.Error{Message: err.Error()})
}

// clientOf names who sent a request, for the log.
func clientOf(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.String() + " " + r.RemoteAddr
	}
	if r.RemoteAddr == "" || r.RemoteAddr == "@" {
		return "unix socket"
	}
	return r.RemoteAddr
}
