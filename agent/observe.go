package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Observed tells everything about the node. What cannot be read is missing,
// and a condition says so.
func (n *Node) Observed(ctx context.Context) v1.ObservedState {
	o := v1.ObservedState{
		Node: n.opts.Name, Version: n.opts.Version, Mode: n.mode(),
		Owners:     n.Owners(),
		Conditions: n.conditions(),
	}
	unreadable := func(err error) {
		o.Conditions = append(slices.Clone(o.Conditions), v1.Condition{
			Type: v1.ConditionReachable, Reason: ReasonUnreadable, Message: err.Error(),
		})
	}
	var err error
	if o.Services, err = n.Services(ctx); err != nil {
		unreadable(err)
	}
	if o.BGP, err = n.BGP(ctx); err != nil {
		unreadable(err)
	}
	o.Interfaces = []v1.Interface{}
	if n.opts.Dataplane != nil {
		o.Interfaces = append(o.Interfaces, n.opts.Dataplane.Interfaces()...)
		table := n.opts.Dataplane.FlowTable()
		o.FlowTable = &table
	}
	return o
}

// conditions are those of the node as a whole.
func (n *Node) conditions() []v1.Condition {
	all := slices.Clone(n.desired().Conditions)
	if n.opts.Dataplane != nil {
		all = append(all, n.opts.Dataplane.Conditions()...)
	}
	if failure := n.saver.problem(); failure != "" {
		all = append(all, v1.Condition{
			Type: v1.ConditionPersisted, Reason: ReasonNotSaved,
			Message: failure + "; a restart would forget the newest changes: make room, or mend --state-dir",
		})
	}
	return all
}

// Services returns every service that an owner asked for, ordered by frontend,
// those that are not programmed with the reason.
func (n *Node) Services(ctx context.Context) ([]v1.ServiceStatus, error) {
	all, d, err := n.services(ctx, Dataplane.Services)
	if n.opts.Speaker != nil && d.BGP != nil {
		noteWithheld(all)
	}
	return all, err
}

// services joins what is desired with what the dataplane says, by the method
// that reads it, and returns what is desired, too.
func (n *Node) services(ctx context.Context, read func(Dataplane, context.Context) ([]v1.ServiceStatus, error)) ([]v1.ServiceStatus, Desired, error) {
	var live []v1.ServiceStatus
	if n.opts.Dataplane != nil {
		var err error
		if live, err = read(n.opts.Dataplane, ctx); err != nil {
			return []v1.ServiceStatus{}, Desired{}, err
		}
	}
	p, d := n.snapshot(), n.desired()
	return statuses(d, live, p.outcome, p.failure), d, nil
}

// Backends returns the backends of all services.
func (n *Node) Backends(ctx context.Context) ([]v1.ServiceBackend, error) {
	services, err := n.Services(ctx)
	if err != nil {
		return nil, err
	}
	backends := []v1.ServiceBackend{}
	for _, s := range services {
		for _, b := range s.BackendStates {
			backends = append(backends, v1.ServiceBackend{
				Service: s.Name, Frontend: s.Frontend, Monitor: s.Monitor, BackendStatus: b,
			})
		}
	}
	return backends, nil
}

// Flows returns the flow table, none on a peer.
func (n *Node) Flows(ctx context.Context) ([]v1.Flow, error) {
	if n.opts.Dataplane == nil {
		return []v1.Flow{}, nil
	}
	flows, err := n.opts.Dataplane.Flows(ctx)
	return append([]v1.Flow{}, flows...), err
}

// Counters returns the dataplane's totals, zero on a peer.
func (n *Node) Counters(ctx context.Context) (v1.Counters, error) {
	if n.opts.Dataplane == nil {
		return v1.Counters{Drops: []v1.Drop{}}, nil
	}
	counters, err := n.opts.Dataplane.Counters(ctx)
	table := n.opts.Dataplane.FlowTable()
	counters.FlowTable = &table
	return counters, err
}

// BGP returns the speaker's status, nil where BGP is off or not configured.
func (n *Node) BGP(ctx context.Context) (*v1.BGPStatus, error) {
	if n.opts.Speaker == nil {
		return nil, nil
	}
	return n.opts.Speaker.Status(ctx)
}

// Owners returns the status of each owner, ordered by name. It is cheap, for
// those who poll.
func (n *Node) Owners() []v1.OwnerStatus {
	desired := n.store.Desired().Generations
	list := make([]v1.OwnerStatus, 0, len(desired))
	for _, o := range slices.Sorted(maps.Keys(desired)) {
		list = append(list, n.ownerStatus(o, desired[o]))
	}
	return list
}

func (n *Node) ownerStatus(owner string, desired v1.Generation) v1.OwnerStatus {
	p := n.snapshot()
	s := v1.OwnerStatus{Owner: owner, Desired: desired, Applied: p.applied[owner]}
	if s.Applied != s.Desired {
		s.Error = p.failure
	}
	return s
}

// statuses joins what is desired with what the dataplane says of it now (live),
// what it answered to the last apply (outcome), for services that it does not
// name now, and why that failed as a whole.
func statuses(d Desired, live []v1.ServiceStatus, outcome map[v1.Frontend]v1.ServiceStatus, failure string) []v1.ServiceStatus {
	at := make(map[v1.Frontend]v1.ServiceStatus, len(live))
	for _, s := range live {
		at[s.Frontend] = s
	}
	all := make([]v1.ServiceStatus, 0, len(d.Services)+len(d.Refused))
	for _, want := range d.Services {
		s, isLive := at[want.Frontend]
		last, known := outcome[want.Frontend]
		switch {
		case !isLive && known:
			s = last
		case !isLive:
			s = waiting(want, failure)
		}
		s.Owner = d.Owners[want.Frontend]
		all = append(all, s)
	}
	all = append(all, d.Refused...)
	slices.SortStableFunc(all, func(a, b v1.ServiceStatus) int {
		return cmp.Or(a.Frontend.Compare(b.Frontend), cmp.Compare(a.Owner, b.Owner))
	})
	return all
}

// waiting is a service that the dataplane does not know of.
func waiting(s v1.Service, failure string) v1.ServiceStatus {
	c := v1.Condition{Type: v1.ConditionProgrammed, Reason: ReasonPending, Message: "not applied yet"}
	if failure != "" {
		c.Reason, c.Message = ReasonApplyFailed, failure
	}
	return v1.ServiceStatus{Service: s, Conditions: []v1.Condition{c}}
}
