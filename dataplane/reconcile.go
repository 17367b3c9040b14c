package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/apply"
	"github.com/weir-lb/weir/dataplane/nexthop"
	"github.com/weir-lb/weir/dataplane/plan"
)

// errClosed is for calls after Close.
var errClosed = errors.New("use dataplane: it is closed")

// attempts bounds how often one reconcile plans anew: the second fits what
// the first made room for, the third is for writes that failed.
const attempts = 3

// Apply makes services and roles the whole of what is served and returns how
// each service fared, in the order given. A service stands whole or not at
// all; what had no room or could not be written is tried again by Run. A VIP
// without a role is served as by the active node, with all source ports. It
// is idempotent. The error is for a closed dataplane or an ended context.
func (d *Dataplane) Apply(ctx context.Context, services []v1.Service, roles []v1.Role) ([]v1.ServiceStatus, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	d.told = true
	d.desired = plan.Desired{Services: slices.Clone(services), Roles: slices.Clone(roles)}
	d.health.Watch(targets(services))
	d.take(d.keeper.Watch(backendAddresses(services)))
	d.reconcile()
	return d.statuses(), nil
}

func backendAddresses(services []v1.Service) []netip.Addr {
	var addresses []netip.Addr
	for _, s := range services {
		for _, b := range s.Backends {
			if b.Address.Is4() {
				addresses = append(addresses, b.Address)
			}
		}
	}
	return addresses
}

// take sets what is known of the backends.
func (d *Dataplane) take(paths nexthop.Paths) {
	d.paths = paths
	d.locate()
	d.desired.NodeAddresses, d.desired.Unreachable = paths.NodeAddresses, paths.Unreachable
	d.nodeAddresses.Store(&paths.NodeAddresses)
	d.desired.Inactive = inactive(d.desired.Services, d.health.Report())
}

// reconcile takes the maps to what is desired, as far as they let it.
func (d *Dataplane) reconcile() {
	if !d.told {
		return
	}
	defer d.route()
	defer d.noteGone()
	for range attempts {
		p := plan.Make(d.desired, d.state, d.scan, d.maps.Limits(), time.Now())
		failed := apply.Run(p.Steps, d.writes, d.state, time.Now)
		d.outcome = outcomes(d.desired, d.state, p.Refused, failed)
		d.again, d.waiting = !failed.None(), exhausted(p.Refused)
		if !d.again && !d.waiting || len(p.Steps) == 0 {
			return
		}
	}
}

// exhausted says that a service was refused for want of room, which the end
// of flows or the passing of time may bring.
func exhausted(refused map[int]v1.Condition) bool {
	for _, c := range refused {
		switch c.Reason {
		case plan.ReasonInvalid, plan.ReasonDuplicate, plan.ReasonOwnAddress:
		default:
			return true
		}
	}
	return false
}
