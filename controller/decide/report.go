package decide

import (
	"cmp"
	"errors"
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
		out[i] = reportOne(s, held[s.key])
		if s.served() {
			out[i].Active = names[ranks.active(s.vip())]
		}
	}
	slices.SortFunc(out, func(a, b v1.ControllerService) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out
}

// maxMessage bounds what one service has others read, in bytes: what it quotes of
// an annotation may be 256 KiB, and each event is kept, logged and written.
// Kubernetes takes as much for a note (events.k8s.io).
const maxMessage = 1024

func reportOne(s *service, held ipam.Hold) v1.ControllerService {
	out := v1.ControllerService{
		Namespace: s.obj.Namespace, Name: s.obj.Name, Type: string(s.obj.Spec.Type),
		Class: *s.obj.Spec.LoadBalancerClass, ClusterIP: s.obj.Spec.ClusterIP,
		Ports: portTexts(s), Mode: s.mode,
		Conditions: []v1.Condition{accepted(s), allocated(s, held.Addresses)},
	}
	if s.refusal == nil {
		out.Pool = strings.Join(poolsOf(s.given), ",")
		for _, g := range s.given {
			switch {
			case published(g.Address):
				out.ExternalIPs = append(out.ExternalIPs, g.Address)
			case g.Address.IsValid():
				out.ReservedIPs = append(out.ReservedIPs, g.Address)
			}
		}
	}
	if len(out.ReservedIPs) > 0 {
		out.Conditions = append(out.Conditions, unserved(s, out.ReservedIPs[0]))
	}
	if unsaid := unpublished(held); len(unsaid) > 0 {
		out.Conditions = append(out.Conditions, reserved(unsaid, held.Ports))
	}
	if s.served() {
		out.Backends = countBackends(s.frontends)
		out.Conditions = append(out.Conditions, reachable(s, out.Backends))
	}
	for i, c := range out.Conditions {
		if c.Type != v1.ConditionReserved { // which is read again
			out.Conditions[i].Message = shorten(oneLine(c.Message), maxMessage)
		}
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
		if len(s.ignored) > 0 {
			c.Message += "; " + withoutEffect(s.ignored)
		}
	case len(s.ignored) > 0:
		c.Reason, c.Message = ReasonValidWithIgnored, withoutEffect(s.ignored)
	}
	return c
}

// withoutEffect names what changes nothing, with what to do instead where that is known.
func withoutEffect(ignored []string) string {
	said := slices.Clone(ignored)
	for _, u := range UnservedAnnotations() {
		for i, text := range ignored {
			if text == prefixLoxiLB+u.Name || text == prefixWeir+u.Name {
				said[i] += " (" + u.Instead + ")"
			}
		}
	}
	return "without effect here: " + strings.Join(said, ", ") + "; remove what you do not need"
}

// poolsOf names the pools that addresses come from, each once.
func poolsOf(given []ipam.Given) []string {
	var out []string
	for _, g := range given {
		if g.Pool != "" && !slices.Contains(out, g.Pool) {
			out = append(out, g.Pool)
		}
	}
	return out
}

func allocated(s *service, held ipam.Addresses) v1.Condition {
	c := v1.Condition{Type: v1.ConditionAllocated}
	if s.refusal != nil {
		c.Reason, c.Message = ReasonNotAccepted, "no address until the service is accepted"
		switch kept := held.List(); len(kept) {
		case 0:
		case 1:
			c.Message = fmt.Sprintf("%s is kept until the service is accepted", kept[0])
		default:
			c.Message = fmt.Sprintf("%s are kept until the service is accepted", joinAnd(kept))
		}
		return c
	}
	has, lacks := allocations(s)
	c.Status, c.Reason, c.Message = true, ReasonAssigned, strings.Join(slices.Concat(has, lacks), "; ")
	if len(lacks) == 0 {
		return c
	}
	if c.Reason = ReasonAssignedPartly; len(has) == 0 || s.together || !s.vip().IsValid() {
		c.Status, c.Reason = false, allocationReason(s.given)
	}
	if s.together && (len(has) == 0 || s.vip().IsValid()) {
		c.Message += "; spec.ipFamilyPolicy: PreferDualStack would do with one address"
	}
	return c
}

// allocations tells what the service has and what it lacks. What is only not
// given alone is no news beside why.
func allocations(s *service) (has, lacks []string) {
	for _, pool := range poolsOf(s.given) {
		var from []netip.Addr
		for _, g := range s.given {
			if g.Pool == pool {
				from = append(from, g.Address)
			}
		}
		has = append(has, joinAnd(from)+" from pool "+pool)
	}
	for i, g := range s.given {
		switch {
		case g.Err == nil || errors.Is(g.Err, ipam.ErrTogether):
		case len(s.wants) == 1:
			lacks = append(lacks, g.Err.Error())
		default:
			lacks = append(lacks, fmt.Sprintf("no %s address: %s", ipam.FamilyName(s.wants[i].IPv6), g.Err))
		}
	}
	return has, lacks
}

// unserved tells of an address a that is not published, and how clients reach the
// service nonetheless.
func unserved(s *service, a netip.Addr) v1.Condition {
	c := v1.Condition{Type: v1.ConditionIPv6Served, Reason: ReasonIPv6NotServed}
	c.Message = fmt.Sprintf("%s is reserved for the service and not published, for nodes forward IPv4 alone; ", a)
	switch {
	case s.vip().IsValid():
		c.Message += fmt.Sprintf("clients reach it at %s", s.vip())
	case s.wantsFamily(false):
		c.Message += "no client reaches it before it has its IPv4 address; see the condition Allocated"
	default:
		c.Message += "no client reaches it: give it an IPv4 address too (spec.ipFamilyPolicy: PreferDualStack)"
	}
	return c
}

func joinAnd(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, " and ")
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
