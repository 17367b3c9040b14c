package agent

import (
	"context"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Dataplane forwards packets as it is told. Its methods are safe for
// concurrent use.
type Dataplane interface {
	// Apply makes services and roles the whole of what is served and returns
	// how each service fared; a service is programmed whole or not at all.
	// It is idempotent. The error is for when nothing could be done.
	Apply(ctx context.Context, services []v1.Service, roles []v1.Role) ([]v1.ServiceStatus, error)
	// Services returns what was applied, with the backends' states and
	// counters.
	Services(ctx context.Context) ([]v1.ServiceStatus, error)
	// Statuses is Services without counters: it reads no flow, for those who
	// poll.
	Statuses(ctx context.Context) ([]v1.ServiceStatus, error)
	Flows(ctx context.Context) ([]v1.Flow, error)
	Counters(ctx context.Context) (v1.Counters, error)
	Interfaces() []v1.Interface
	// BackendsChanged receives when backends may have become active or have
	// ceased to be: Apply tells their states.
	BackendsChanged() <-chan struct{}
	// FlowTable is how full the table of established flows was lately.
	FlowTable() v1.FlowTable
	// Conditions are what is not as it should be with the dataplane as a whole.
	Conditions() []v1.Condition
	// Run follows neighbours and interfaces and sweeps flows until ctx ends.
	Run(ctx context.Context) error
	Close() error
}

// Speaker talks BGP. Its methods are safe for concurrent use.
type Speaker interface {
	// Apply makes cfg the configuration and announces the VIPs of services
	// by the rank that roles give them. A nil cfg stops BGP. It is idempotent.
	Apply(ctx context.Context, cfg *v1.BGP, services []v1.Service, roles []v1.Role) error
	// Status is nil while BGP is not configured.
	Status(ctx context.Context) (*v1.BGPStatus, error)
	// Run carries learned routes to the kernel until ctx ends.
	Run(ctx context.Context) error
	Close() error
}
