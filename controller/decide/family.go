package decide

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-lb/weir/controller/ipam"
)

// published says whether a Service's status and the nodes are told of an
// address: only of one that nodes serve, and they forward IPv4 alone
// (docs/adr/0016-unserved-addresses-unpublished.md).
func published(a netip.Addr) bool { return a.Is4() }

// readFamilies reads of which families the service wants an address, in their
// order, and whether it wants both or none. An apiserver has filled in
// ipFamilies, by what the cluster has, with clusterIPs; what a manifest leaves
// out is as in a cluster of both families.
func readFamilies(spec corev1.ServiceSpec) (wants []ipam.Want, together bool, bad *refusal) {
	policy := corev1.IPFamilyPolicySingleStack
	if spec.IPFamilyPolicy != nil {
		policy = *spec.IPFamilyPolicy
	}
	dual := policy == corev1.IPFamilyPolicyPreferDualStack || policy == corev1.IPFamilyPolicyRequireDualStack
	if !dual && policy != corev1.IPFamilyPolicySingleStack {
		return nil, false, refuse(ReasonInvalidFamily, "spec.ipFamilyPolicy: unknown policy %q; use SingleStack, PreferDualStack or RequireDualStack", policy)
	}
	for i, f := range spec.IPFamilies {
		want := ipam.Want{IPv6: f == corev1.IPv6Protocol}
		switch {
		case f != corev1.IPv4Protocol && f != corev1.IPv6Protocol:
			return nil, false, refuse(ReasonInvalidFamily, "spec.ipFamilies[%d]: unknown family %q; use IPv4 or IPv6", i, f)
		case slices.Contains(wants, want):
			return nil, false, refuse(ReasonInvalidFamily, "spec.ipFamilies[%d]: %s is there already; remove one", i, f)
		}
		wants = append(wants, want)
	}
	if len(wants) == 0 {
		wants = []ipam.Want{{}}
	}
	switch {
	case len(wants) > 1 && !dual:
		return nil, false, refuse(ReasonInvalidFamily, "spec.ipFamilies has two, and spec.ipFamilyPolicy is SingleStack; use PreferDualStack or RequireDualStack, or remove one")
	case len(wants) == 1 && dual && len(spec.ClusterIPs) == 0:
		wants = append(wants, ipam.Want{IPv6: !wants[0].IPv6})
	}
	return wants, policy == corev1.IPFamilyPolicyRequireDualStack, nil
}

// readWanted reads the two ways to ask for addresses: one, or one of each family.
func (s *service) readWanted() *refusal {
	asked := map[bool]string{} // by whom, for IPv6 and IPv4
	for _, w := range []struct{ where, text string }{
		{"spec.loadBalancerIP", s.obj.Spec.LoadBalancerIP}, {s.staticIPKey, s.staticIP},
	} {
		if w.text == "" {
			continue
		}
		for text := range strings.SplitSeq(w.text, ",") {
			a, bad := readAddress(w.where, strings.TrimSpace(text))
			if bad != nil {
				return bad
			}
			if bad := s.want(w.where, a, asked); bad != nil {
				return bad
			}
		}
	}
	return nil
}

func readAddress(where, text string) (netip.Addr, *refusal) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return a, refuse(ReasonInvalidAddress, "%s: %q is no IPv4 address and no IPv6 address", where, text)
	case a.Zone() != "":
		return a, refuse(ReasonInvalidAddress, "%s: %q has a zone; use an address that is valid beyond a link", where, text)
	case a.Is4In6():
		return a, refuse(ReasonInvalidAddress, "%s: %q is IPv4 in IPv6; write %s", where, text, a.Unmap())
	}
	return a, nil
}

// want asks for an address in the place of any of its family.
func (s *service) want(where string, a netip.Addr, asked map[bool]string) *refusal {
	i := slices.IndexFunc(s.wants, func(w ipam.Want) bool { return w.IPv6 == a.Is6() })
	switch {
	case i < 0 && s.prefersDualStack():
		s.ignored = append(s.ignored, where+"="+a.String()+", because spec.ipFamilies has no "+ipam.FamilyName(a.Is6()))
	case i < 0:
		return refuse(ReasonInvalidAddress, "%s asks for %s, and spec.ipFamilies has no %s; ask for another address, or change spec.ipFamilyPolicy and spec.ipFamilies",
			where, a, ipam.FamilyName(a.Is6()))
	case s.wants[i].Address.IsValid() && s.wants[i].Address != a:
		return refuse(ReasonInvalidAddress, "%s asks for %s and %s for %s; keep one of them", asked[a.Is6()], s.wants[i].Address, where, a)
	default:
		s.wants[i].Address, asked[a.Is6()] = a, where
	}
	return nil
}

func (s *service) prefersDualStack() bool {
	return s.obj.Spec.IPFamilyPolicy != nil && *s.obj.Spec.IPFamilyPolicy == corev1.IPFamilyPolicyPreferDualStack
}

// wantsFamily says whether an address of a family is wanted.
func (s *service) wantsFamily(ipv6 bool) bool {
	return slices.ContainsFunc(s.wants, func(w ipam.Want) bool { return w.IPv6 == ipv6 })
}
