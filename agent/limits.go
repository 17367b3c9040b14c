package agent

import (
	"cmp"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// withoutDataplane returns d for a peer: each service becomes a refusal.
func (d Desired) withoutDataplane() Desired {
	refused := slices.Clone(d.Refused)
	for _, s := range d.Services {
		refused = append(refused, refuse(d.Owners[s.Frontend], s, ReasonPeerNode,
			"this node is a BGP peer and forwards nothing (weir --peer); send services to load balancer nodes"))
	}
	slices.SortStableFunc(refused, func(a, b v1.ServiceStatus) int {
		return cmp.Or(a.Frontend.Compare(b.Frontend), cmp.Compare(a.Owner, b.Owner))
	})
	d.Services, d.Owners, d.Refused = nil, nil, refused
	return d
}

// withoutSpeaker returns d for a node that does not speak BGP.
func (d Desired) withoutSpeaker() Desired {
	if d.BGP == nil {
		return d
	}
	d.BGP = nil
	d.Conditions = append(slices.Clone(d.Conditions), v1.Condition{
		Type: v1.ConditionAccepted, Reason: ReasonBGPDisabled,
		Message: "BGP is configured but off on this node; start weir with --bgp",
	})
	return d
}
