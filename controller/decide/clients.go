package decide

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/ipam"
)

// annotationSourceRanges is the older way to say spec.loadBalancerSourceRanges,
// which wins where it says something.
const annotationSourceRanges = corev1.AnnotationLoadBalancerSourceRangesKey

// readClients reads which clients may come, and whether each keeps its backend.
func (s *service) readClients() *refusal {
	spec := s.obj.Spec
	if spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		s.affinity = uint32(corev1.DefaultClientIPServiceAffinitySeconds)
		if c := spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			s.affinity = uint32(min(max(*c.ClientIP.TimeoutSeconds, 1), v1.MaxAffinity))
		}
		if !s.podNetwork && s.mode != v1.ModeDefault {
			// kube-proxy keeps the pod of its client, and has one: this node, or the VIP.
			s.ignored = append(s.ignored, "spec.sessionAffinity=ClientIP among the pods of a node, because mode "+string(s.mode)+
				" shows kube-proxy one client alone (set "+annotationPodNetwork+": yes)")
		}
	}
	where, ranges := "spec.loadBalancerSourceRanges", spec.LoadBalancerSourceRanges
	if text := strings.TrimSpace(s.obj.Annotations[annotationSourceRanges]); len(ranges) == 0 && text != "" {
		where, ranges = annotationSourceRanges, strings.Split(text, ",")
	}
	var bad *refusal
	s.sources, bad = readSources(where, ranges, !s.wantsFamily(false))
	return bad
}

// readSources returns the prefixes among ranges of the family that is served,
// sorted. Ranges of the other one alone are refused: without them the service
// would be open to all.
func readSources(where string, ranges []string, ipv6 bool) ([]netip.Prefix, *refusal) {
	var out []netip.Prefix
	for _, text := range ranges {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || p.Addr().Is4In6() {
			return nil, refuse(ReasonInvalidSourceRange, "%s: %q is no prefix, such as 192.0.2.0/24", where, text)
		}
		if p.Addr().Is6() == ipv6 {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	out = slices.Compact(out)
	switch {
	case len(ranges) > 0 && len(out) == 0:
		return nil, refuse(ReasonInvalidSourceRange, "%s has no %s prefix, so no client could come; add one", where, ipam.FamilyName(ipv6))
	case len(out) > v1.MaxSources:
		return nil, refuse(ReasonInvalidSourceRange, "%s has %d prefixes, at most %d are served; use wider ones", where, len(out), v1.MaxSources)
	}
	return out, nil
}
