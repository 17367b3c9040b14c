// Package api serves a node over HTTP and JSON, version 1: states go in with
// PUT and PATCH, everything that a person may see comes out with GET.
//
//	PUT    /v1/state/{owner}  NodeState -> OwnerStatus
//	PATCH  /v1/state/{owner}  NodeChange -> OwnerStatus
//	DELETE /v1/state/{owner}  -> OwnerStatus
//	POST   /v1/drain          -> Health, then the program ends
//	GET    /v1/state          DesiredState
//	GET    /v1/owners         []OwnerStatus
//	GET    /v1/owners/{owner} OwnerReport
//	GET    /v1/observed       ObservedState
//	GET    /v1/services       []ServiceStatus
//	GET    /v1/backends       []ServiceBackend
//	GET    /v1/flows          []Flow
//	GET    /v1/drops          Counters
//	GET    /v1/bgp            BGPStatus, null while BGP is off or not configured
//	GET    /v1/version        Version
//	GET    /healthz           Health
//	GET    /metrics           Prometheus' text format
//	GET    /v1/openapi.json   all of this as an OpenAPI document
//
// Every other answer is a v1.Error: 400 for a body that cannot be, with the
// path to the field; 404; 405; 408 for a body that comes too slowly; 409 for a
// generation that is not newer, or a change to a state that does not stand; 413; 415; 500 when the node cannot be read.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/agent/metrics"
)

// Limits bound what one client can take. The zero value is DefaultLimits.
type Limits struct {
	// Body is the most that a request may carry, in bytes: 10 000 services
	// with 10 backends are 10 MB.
	Body int64
	// Connections is how many a listener has open at a time: for one more, the
	// oldest goes.
	Connections int
	// Header and Read bound the time to read a request's head and all of it,
	// Write the time from there to the end of the answer, Idle the life of an
	// unused connection.
	Header, Read, Write, Idle time.Duration
	// Shutdown is how long requests under way may take when the server ends.
	Shutdown time.Duration
}

// DefaultLimits let 64 MiB come in over a link of 20 Mbit/s.
var DefaultLimits = Limits{
	Body: 64 << 20, Connections: 256,
	Header: 5 * time.Second, Read: 30 * time.Second, Write: 60 * time.Second, Idle: 2 * time.Minute,
	Shutdown: 5 * time.Second,
}

// Server answers for a node on any number of listeners.
type Server struct {
	node    *agent.Node
	log     *slog.Logger
	limits  Limits
	metrics http.Handler
}

// New returns a server for node.
func New(node *agent.Node, log *slog.Logger, limits Limits) *Server {
	if limits == (Limits{}) {
		limits = DefaultLimits
	}
	return &Server{node: node, log: log, limits: limits, metrics: metrics.Handler(metrics.Registry(node))}
}

// Run serves on listeners until ctx ends, lets requests under way finish, and
// closes the listeners. Its error is that of the first listener that fails.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	handler := s.Handler()
	for _, l := range listeners {
		group.Go(func() error { return s.serve(ctx, l, handler) })
	}
	return group.Wait()
}

// serve is Run for one listener, so that each has its own bound: who fills the
// port does not keep the node's own clients from the socket.
func (s *Server) serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ConnState:         newConnections(s.limits.Connections, s.log).follow,
		ReadHeaderTimeout: s.limits.Header,
		ReadTimeout:       s.limits.Read,
		WriteTimeout:      s.limits.Write,
		IdleTimeout:       s.limits.Idle,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		// The end of ctx must not cut what Shutdown waits for.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Shutdown)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}
