package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/apply"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Reasons of conditions that the dataplane itself sets, beside package plan's.
const (
	ReasonProgrammed     = "Programmed"          // Holds: the maps lead to it.
	ReasonMapWriteFailed = "MapWriteFailed"      // The kernel refused a write to a map, which is tried again every second; the message says why.
	ReasonReachable      = "BackendsReachable"   // Holds: every backend has a route.
	ReasonUnreachable    = "BackendsUnreachable" // A backend has no route, or does not answer ARP; mend the path to those that the message names.
	ReasonHealthy        = "BackendsHealthy"     // Holds: no backend fails its probes.
	ReasonUnhealthy      = "BackendsUnhealthy"   // Backends fail their probes and get no new flows; look at those that the message names.
)

// outcome is how one service fared.
type outcome struct {
	programmed bool
	conditions []v1.Condition
}

// outcomes judges each desired service by the plan and by what failed of it.
func outcomes(desired plan.Desired, state *plan.State, refused map[int]v1.Condition, failed apply.Failures) []outcome {
	all := make([]outcome, len(desired.Services))
	for i, s := range desired.Services {
		programmed := programmed(s, state, failed)
		if why, is := refused[i]; is {
			programmed = why
			if _, stands := state.Service(s.Frontend); stands && why.Reason != plan.ReasonDuplicate {
				programmed.Message += "; its version before stays in force"
			}
		}
		all[i] = outcome{programmed: programmed.Status, conditions: []v1.Condition{programmed}}
		if len(s.Backends) > 0 {
			all[i].conditions = append(all[i].conditions, reachable(s, desired.Unreachable))
		}
		if s.Monitor && len(s.Backends) > 0 {
			all[i].conditions = append(all[i].conditions, healthy(s, desired.Inactive))
		}
	}
	return all
}

func programmed(s v1.Service, state *plan.State, failed apply.Failures) v1.Condition {
	c := v1.Condition{Type: v1.ConditionProgrammed, Status: true, Reason: ReasonProgrammed, Message: "the maps lead to it"}
	err := failed.Services[s.Frontend]
	if err == nil {
		err = failed.VIPs[s.VIP]
	}
	if err == nil {
		if _, stands := state.Service(s.Frontend); stands {
			return c
		}
		err = fmt.Errorf("write service %s: it was left out", s.Frontend)
	}
	c.Status, c.Reason, c.Message = false, ReasonMapWriteFailed, err.Error()+"; tried again every second"
	return c
}

// addressesIn lists the addresses of a service's backends that are in set.
func addressesIn(s v1.Service, set map[netip.Addr]bool) string {
	var in []string
	for _, b := range s.Backends {
		if set[b.Address] && !slices.Contains(in, b.Address.String()) {
			in = append(in, b.Address.String())
		}
	}
	slices.Sort(in)
	return strings.Join(in, ", ")
}

func reachable(s v1.Service, unreachable map[netip.Addr]bool) v1.Condition {
	away := addressesIn(s, unreachable)
	if away == "" {
		return v1.Condition{Type: v1.ConditionReachable, Status: true, Reason: ReasonReachable, Message: "every backend has a route"}
	}
	return v1.Condition{
		Type: v1.ConditionReachable, Status: false, Reason: ReasonUnreachable,
		Message: fmt.Sprintf("no route to, or no answer to ARP from, %s; they get new flows only while no other backend is left", away),
	}
}

func healthy(s v1.Service, inactive map[plan.Endpoint]bool) v1.Condition {
	var down []string
	for _, b := range s.Backends {
		if e := endpoint(s, b); inactive[e] {
			down = append(down, e.Address.String())
		}
	}
	if len(down) == 0 {
		return v1.Condition{Type: v1.ConditionHealthy, Status: true, Reason: ReasonHealthy, Message: "no backend fails its probes"}
	}
	slices.Sort(down)
	return v1.Condition{
		Type: v1.ConditionHealthy, Status: false, Reason: ReasonUnhealthy,
		Message: fmt.Sprintf("%d of %d backends fail their probes and get no new flows: %s", len(down), len(s.Backends), strings.Join(down, ", ")),
	}
}
