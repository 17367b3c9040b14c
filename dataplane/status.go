package dataplane

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/flow"
	"github.com/weir-lb/weir/dataplane/health"
	"github.com/weir-lb/weir/dataplane/plan"
)

// statuses returns the desired services without counters. The caller holds
// the lock.
func (d *Dataplane) statuses() []v1.ServiceStatus {
	all := make([]v1.ServiceStatus, len(d.desired.Services))
	probes := d.health.Report()
	for i, s := range d.desired.Services {
		all[i] = v1.ServiceStatus{
			Service: s, Programmed: d.outcome[i].programmed, Conditions: d.outcome[i].conditions,
			BackendStates: make([]v1.BackendStatus, len(s.Backends)),
		}
		if c, told := d.nodeTraffic(s); told {
			all[i].Conditions = append(slices.Clone(all[i].Conditions), c)
		}
		for j, b := range s.Backends {
			all[i].BackendStates[j] = v1.BackendStatus{Backend: b, State: d.backendState(s, b)}
			if s.Monitor {
				all[i].BackendStates[j].Probe = probes[health.NewTarget(s, b)].Probe
			}
		}
	}
	return all
}

// backendState is the one that the plan has gone by.
func (d *Dataplane) backendState(s v1.Service, b v1.Backend) string {
	switch {
	case d.desired.Unserved[b.Address]:
		return v1.BackendUnserved
	case d.desired.Unreachable[b.Address]:
		return v1.BackendUnreachable
	case s.Monitor && d.desired.Inactive[endpoint(s, b)]:
		return v1.BackendInactive
	}
	return v1.BackendActive
}

// Statuses is Services without counters, and walks no flow.
func (d *Dataplane) Statuses(ctx context.Context) ([]v1.ServiceStatus, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.statuses(), nil
}

// Services returns what was applied last, in the same order, with the flows
// that name each backend now: a flow is one direction, so that a connection
// counts twice. It walks all flows: half a second for a million.
func (d *Dataplane) Services(ctx context.Context) ([]v1.ServiceStatus, error) {
	entries, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	byBackend := map[uint32]v1.BackendStatus{}
	for _, e := range entries {
		b := byBackend[e.Flow.Backend]
		b.Flows++
		b.Packets += e.Flow.Packets
		b.Bytes += e.Flow.Bytes
		byBackend[e.Flow.Backend] = b
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.statuses()
	for i := range all {
		count(&all[i], d.state, byBackend)
	}
	return all, nil
}

func count(s *v1.ServiceStatus, state *plan.State, byBackend map[uint32]v1.BackendStatus) {
	entry, ok := state.Service(s.Frontend)
	if !ok {
		return
	}
	for i := range s.BackendStates {
		b := &s.BackendStates[i]
		id, ok := state.BackendID(entry.ID, netip.AddrPortFrom(b.Address, b.Port))
		if !ok {
			continue
		}
		seen := byBackend[id]
		b.Flows, b.Packets, b.Bytes = seen.Flows, seen.Packets, seen.Bytes
	}
}

// Flows returns all flows, the two directions of a connection side by side.
func (d *Dataplane) Flows(ctx context.Context) ([]v1.Flow, error) {
	entries, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	names := d.serviceNames()
	flows := make([]v1.Flow, len(entries))
	for i, e := range entries {
		flows[i] = e.API()
		flows[i].Service = names[uint32(e.Flow.Service)]
	}
	slices.SortFunc(flows, func(a, b v1.Flow) int {
		return cmp.Or(
			cmp.Compare(a.Protocol, b.Protocol),
			client(a).Compare(client(b)),
			cmp.Compare(a.Direction, b.Direction),
			a.Destination.Compare(b.Destination),
		)
	})
	return flows, nil
}

// client returns the end that opened the connection.
func client(f v1.Flow) netip.AddrPort {
	if f.Direction == "reply" {
		return f.NewDestination
	}
	return f.Source
}

// serviceNames maps ids to names; a service that is gone while its flows live
// goes by its frontend.
func (d *Dataplane) serviceNames() map[uint32]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	given := map[v1.Frontend]string{}
	for _, s := range d.desired.Services {
		given[s.Frontend] = s.Name
	}
	names := map[uint32]string{}
	for id, f := range d.state.Frontends() {
		names[id] = cmp.Or(given[f], f.String())
	}
	return names
}

// Counters returns what became of all packets since the maps were made.
func (d *Dataplane) Counters(ctx context.Context) (v1.Counters, error) {
	if err := d.usable(ctx); err != nil {
		return v1.Counters{}, err
	}
	return d.maps.Counters()
}

func (d *Dataplane) read(ctx context.Context) ([]flow.Entry, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	return d.flows.Read(ctx)
}

func (d *Dataplane) usable(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	return ctx.Err()
}
