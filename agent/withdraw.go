package agent

import (
	"fmt"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// withoutDead leaves those services out whose address nobody shall be led to:
// all services on it allow that it is withdrawn, and none has a live backend.
// What the dataplane says nothing of is taken for alive.
func withoutDead(services []v1.Service, outcome map[v1.Frontend]v1.ServiceStatus) []v1.Service {
	keep := map[netip.Addr]bool{}
	for _, s := range services {
		status, known := outcome[s.Frontend]
		if !s.Withdraw || !known || alive(status) {
			keep[s.VIP] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(services), func(s v1.Service) bool { return !keep[s.VIP] })
}

// noteWithheld says of the programmed services that withoutDead leaves out that
// their address is withdrawn.
func noteWithheld(all []v1.ServiceStatus) {
	var programmed []v1.Service
	outcome := map[v1.Frontend]v1.ServiceStatus{}
	for _, s := range all {
		if s.Programmed {
			programmed, outcome[s.Frontend] = append(programmed, s.Service), s
		}
	}
	for _, s := range withoutDead(programmed, outcome) {
		delete(outcome, s.Frontend)
	}
	for i, s := range all {
		if _, withheld := outcome[s.Frontend]; withheld && s.Programmed {
			all[i].Conditions = append(slices.Clone(s.Conditions), v1.Condition{
				Type: v1.ConditionAnnounced, Reason: ReasonNoLiveBackend,
				Message: fmt.Sprintf("%s is withdrawn: no service on it has a live backend; it is announced again with the first", s.VIP),
			})
		}
	}
}

func alive(s v1.ServiceStatus) bool {
	return slices.ContainsFunc(s.BackendStates, func(b v1.BackendStatus) bool { return b.State == v1.BackendActive })
}

// mayWithdraw says that the health of backends decides what is announced.
func mayWithdraw(services []v1.Service) bool {
	return slices.ContainsFunc(services, func(s v1.Service) bool { return s.Withdraw })
}
