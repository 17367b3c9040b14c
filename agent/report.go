package agent

import (
	"context"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Report tells how an owner's services fare. It walks no flow. Its error is
// ErrNoOwner, or that of the dataplane.
func (n *Node) Report(ctx context.Context, owner string) (v1.OwnerReport, error) {
	// The owner's status first: what is in force then, is in the services.
	desired, known := n.store.Desired().Generations[owner]
	if !known {
		return v1.OwnerReport{}, noOwner(owner)
	}
	report := v1.OwnerReport{OwnerStatus: n.ownerStatus(owner, desired), Faults: []v1.ServiceFault{}}
	all, _, err := n.services(ctx, Dataplane.Statuses)
	for _, s := range all {
		if s.Owner != owner {
			continue
		}
		if c, wrong := fault(s); wrong {
			report.Faults = append(report.Faults, v1.ServiceFault{Frontend: s.Frontend, Condition: c})
		}
	}
	return report, err
}

// faultTypes are the conditions that can say why a service leads nowhere, the
// gravest first.
var faultTypes = []string{v1.ConditionAccepted, v1.ConditionProgrammed, v1.ConditionReachable, v1.ConditionNodeTraffic}

// fault says why a service leads nowhere, false for one that does not.
func fault(s v1.ServiceStatus) (v1.Condition, bool) {
	if s.Programmed && (len(s.BackendStates) == 0 || slices.ContainsFunc(s.BackendStates, usable)) {
		return v1.Condition{}, false
	}
	for _, t := range faultTypes {
		i := slices.IndexFunc(s.Conditions, func(c v1.Condition) bool { return c.Type == t && !c.Status })
		if i >= 0 {
			return s.Conditions[i], true
		}
	}
	return v1.Condition{Type: v1.ConditionProgrammed, Reason: ReasonPending, Message: "not applied yet"}, true
}

// usable says that packets can be sent to a backend, whatever it does with them.
func usable(b v1.BackendStatus) bool {
	return b.State != v1.BackendUnreachable && b.State != v1.BackendUnserved
}
