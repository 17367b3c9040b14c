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
	owner := r.PathValue("owner")
	body, status, err := s.body(w, r)
	if err != nil {
		fail(w, status, v1.Error{Message: err.Error()})
		return
	}
	state, err := v1.DecodeState(body)
	if err != nil {
		s.refuse(w, owner, err)
		return
	}
	result, err := s.node.Put(owner, state)
	if err != nil {
		s.refuse(w, owner, err)
		return
	}
	s.log.Info("state accepted", "owner", owner, "generation", state.Generation.String(),
		"services", len(state.Services), "client", clientOf(r))
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
	fail(w, http.StatusInternalServerError, v1.Error{Message: err.Error()})
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
