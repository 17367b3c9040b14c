package api

import (
	"context"
	"net/http"

	v1 "github.com/weir-lb/weir/api/v1"
)

// drain ends the program for good. Its work goes on when the client does not
// wait for the answer: half a withdrawal is nothing that anybody wants.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.log.Info("drain asked for", "client", clientOf(r))
	if err := s.node.Drain(context.WithoutCancel(r.Context())); err != nil {
		s.log.Error("drain failed", "error", err)
		fail(w, http.StatusInternalServerError, v1.Error{Message: err.Error()})
		return
	}
	answer(w, http.StatusOK, v1.Health{Status: v1.HealthDrained})
}
