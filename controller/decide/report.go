package decide

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/ipam"
)

// report tells a person of every service, ordered by namespace and name.
func report(services []*service, held map[string]ipam.Hold, ranks rankTable, lbs []Instance) []v1.ControllerService {
	names := make(map[netip.Addr]string, len(lbs))
	for _, n := range lbs {
		names[n.Address] = n.Name
	}
	out := make([]v1.ControllerService, len(services))
	for i, s := range services {
		out[i] = reportOne(s, held[s.key].Address)
		if s.served() {
			out[i].Active = names[ranks.active(s.address)]
		}
	}
	slices.SortFunc(out, func(a, b v1.ControllerService) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out
}

func reportOne(s *service, held netip.Addr) v1.ControllerService {
	out := v1.ControllerService{
		Namespace: s.obj.Namespace, Name: s.obj.Name, Type: string(s.obj.Spec.Type),
		Class: *s.obj.Spec.LoadBalancerClass, ClusterIP: s.obj.Spec.ClusterIP,
		Ports: portTexts(s), Mode: s.mode,
		Conditions: []v1.Condition{accepted(s), allocated(s, held)},
	}
	if s.served() {
		out.ExternalIPs = []netip.Addr{s.address}
		out.Pool = s.addressPool
		out.Backends = countBackends(s.frontends)
		out.Conditions = append(out.Conditions, reachable(s, out.Backends))
	}
	return out
}

// portTexts prints the ports as kubectl does, also of a service that is refused.
func portTexts(s *service) []string {
	out := make([]string, len(s.obj.Spec.Ports))
	for i, p := range s.obj.Spec.Ports {
		text := fmt.Sprint(p.Port)
		if p.NodePort != 0 {
			text += fmt.Sprintf(":%d", p.NodePort)
		}
		out[i] = text + "/" + cmp.Or(string(p.Protocol), "TCP")
	}
	return out
}

func countBackends(frontends []v1.Service) int {
	distinct := map[netip.AddrPort]bool{}
	for _, f := range frontends {
		for _, b := range f.Backends {
			distinct[netip.AddrPortFrom(b.Address, b.Port)] = true
		}
	}
	return len(distinct)
}

func accepted(s *service) v1.Condition {
	c := v1.Condition{Type: v1.ConditionAccepted, Status: true, Reason: ReasonValid, Message: "the service can be served as it is written"}
	switch {
	case s.refusal != nil:
		c.Status, c.Reason, c.Message = false, s.refusal.reason, s.refusal.message
	case len(s.probe.faults) > 0:
		c.Reason = ReasonProbeDefaults
		c.Message = "probes are as weir does them by default, since " + strings.Join(s.probe.faults, "; ")
	case len(s.ignored) > 0:
		c.Reason = ReasonValidWithIgnored
		c.Message = "without effect here: " + strings.Join(s.ignored, ", ") + "; remove what you do not need"
	}
	return c
}

func allocated(s *service, held netip.Addr) v1.Condition {
	c := v1.Condition{Type: v1.ConditionAllocated}
	switch {
	case s.refusal != nil && held.IsValid():
		c.Reason, c.Message = ReasonNotAccepted, fmt.Sprintf("%s is kept until the service is accepted", held)
	case s.refusal != nil:
		c.Reason, c.Message = ReasonNotAccepted, "no address until the service is accepted"
	case s.addressErr != nil:
		c.Reason, c.Message = allocationReason(s.addressErr), s.addressErr.Error()
	default:
		c.Status, c.Reason = true, ReasonAssigned
		c.Message = fmt.Sprintf("%s from pool %s", s.address, s.addressPool)
	}
	return c
}

func reachable(s *service, backends int) v1.Condition {
	if s.unreachable != nil {
		return v1.Condition{Type: v1.ConditionReachable, Reason: s.unreachable.reason, Message: s.unreachable.message}
	}
	message := fmt.Sprintf("%d backends", backends)
	if backends == 1 {
		message = "1 backend"
	}
	return v1.Condition{Type: v1.ConditionReachable, Status: true, Reason: ReasonEndpointsReady, Message: message}
}
