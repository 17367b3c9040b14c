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
	"log/slog"
	"net"
	"net/http"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/agent/metrics"
	"github.com/weir-lb/weir/api/transport"
)

// Limits bound what one client can take. The zero value is DefaultLimits.
type Limits struct {
	// Body is the most that a request may carry, in bytes: 10 000 services
	// with 10 backends are 10 MB.
	Body int64
	transport.Limits
}

// DefaultLimits are transport's, and a body of 64 MiB.
var DefaultLimits = Limits{Body: 64 << 20, Limits: transport.DefaultLimits}

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

// Run serves on listeners as transport.Serve does.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	return transport.Serve(ctx, s.Handler(), s.limits.Limits, s.log, listeners...)
}
