package decide

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

const (
	six     = "Accepted=true/Valid Allocated=true/Assigned IPv6Served=false/IPv6NotServed Reserved=true/Reserved"
	both    = six + " Reachable=true/EndpointsReady"
	fourYet = "Accepted=true/Valid Allocated=true/AssignedPartly Reachable=true/EndpointsReady"
)

// TestFamilies decides on one service at a time that wants IPv6, where nodes
// serve IPv4 alone. The tenants have all of the pools full4 and full6.
func TestFamilies(t *testing.T) {
	dual := []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	has := func(addresses ...string) ipam.Hold {
		h := hold(addresses[0], 80)
		for _, a := range addresses {
			h.Set(netip.MustParseAddr(a))
		}
		return h
	}
	for _, row := range []struct {
		says     string
		edits    []func(*corev1.Service)
		last     ipam.Hold
		want     string // conditions
		external string // and after a slash what is reserved
		messages []string
	}{
		{"IPv6 alone", edits(families("SingleStack", "IPv6")), ipam.Hold{}, six, "/2001:db8::1",
			[]string{"2001:db8::1 from pool defaultPool", "no client reaches it: give it an IPv4 address too (spec.ipFamilyPolicy: PreferDualStack)"}},
		{"IPv6 alone, without a policy", edits(families("", "IPv6")), ipam.Hold{}, six, "/2001:db8::1", nil},
		{"both", edits(families("RequireDualStack", dual...)), ipam.Hold{}, both, "10.0.0.1/2001:db8::1",
			[]string{"10.0.0.1 and 2001:db8::1 from pool defaultPool",
				"2001:db8::1 is reserved for the service and not published, for nodes forward IPv4 alone; clients reach it at 10.0.0.1"}},
		{"both, IPv6 first", edits(families("PreferDualStack", "IPv6", "IPv4")), ipam.Hold{}, both, "10.0.0.1/2001:db8::1",
			[]string{"2001:db8::1 and 10.0.0.1 from pool defaultPool"}},
		{"both preferred, in a cluster that has one", edits(families("PreferDualStack", "IPv4"), clusterIPs("10.43.0.9")), ipam.Hold{}, good, "10.0.0.1/", nil},
		{"both preferred, in a manifest", edits(families("PreferDualStack")), ipam.Hold{}, both, "10.0.0.1/2001:db8::1", nil},
		{"both required, in a manifest that names the first", edits(families("RequireDualStack", "IPv6")), ipam.Hold{}, both, "10.0.0.1/2001:db8::1",
			[]string{"2001:db8::1 and 10.0.0.1 from pool defaultPool"}},
		{"a pool that both share", edits(families("PreferDualStack", dual...), note("loxilb.io/poolSelect", "second")), ipam.Hold{}, both, "10.9.0.1/2001:db8:9::1", nil},

		// Wishes.
		{"an IPv6 address in spec.loadBalancerIP", edits(families("", "IPv6"), wanted("2001:db8::42")), ipam.Hold{}, six, "/2001:db8::42", nil},
		{"whatever way it is written", edits(families("", "IPv6"), wanted("2001:0DB8:0::42")), ipam.Hold{}, six, "/2001:db8::42", nil},
		{"one of each family in an annotation", edits(families("PreferDualStack", dual...), note("loxilb.io/staticIP", "2001:db8::42, 10.0.0.42")), ipam.Hold{}, both, "10.0.0.42/2001:db8::42", nil},
		{"one here and one there", edits(families("RequireDualStack", dual...), wanted("10.0.0.42"), note("weir-lb.io/staticIP", "2001:db8::42")), ipam.Hold{}, both, "10.0.0.42/2001:db8::42", nil},
		{"one, and any of the other family", edits(families("RequireDualStack", dual...), wanted("2001:db8::42")), ipam.Hold{}, both, "10.0.0.1/2001:db8::42", nil},
		{"of two pools", edits(families("RequireDualStack", dual...), wanted("10.9.0.42"), note("loxilb.io/staticIP", "2001:db8::42")), ipam.Hold{}, both, "10.9.0.42/2001:db8::42",
			[]string{"10.9.0.42 from pool second; 2001:db8::42 from pool defaultPool"}},
		{"an address of a family that the service has not", edits(wanted("2001:db8::42")), ipam.Hold{}, "Accepted=false/InvalidAddress " + refused, "/",
			[]string{"spec.loadBalancerIP asks for 2001:db8::42, and spec.ipFamilies has no IPv6; ask for another address, or change spec.ipFamilyPolicy and spec.ipFamilies"}},
		{"which is what both preferred come to in a cluster of one", edits(families("PreferDualStack", "IPv4"), clusterIPs("10.43.0.9"), note("loxilb.io/staticIP", "10.0.0.42,2001:db8::42")), ipam.Hold{},
			strings.Replace(good, "Valid", "ValidWithIgnored", 1), "10.0.0.42/", []string{"without effect here: loxilb.io/staticIP=2001:db8::42, because spec.ipFamilies has no IPv6"}},
		{"two of one family", edits(families("RequireDualStack", dual...), note("loxilb.io/staticIP", "2001:db8::42,2001:db8::43")), ipam.Hold{}, "Accepted=false/InvalidAddress " + refused, "/",
			[]string{"loxilb.io/staticIP asks for 2001:db8::42 and loxilb.io/staticIP for 2001:db8::43; keep one of them"}},
		{"an address with a zone", edits(families("", "IPv6"), wanted("fe80::1%eth0")), ipam.Hold{}, "Accepted=false/InvalidAddress " + refused, "/",
			[]string{`spec.loadBalancerIP: "fe80::1%eth0" has a zone`}},
		{"IPv4 in IPv6", edits(wanted("::ffff:10.0.0.1")), ipam.Hold{}, "Accepted=false/InvalidAddress " + refused, "/",
			[]string{`"::ffff:10.0.0.1" is IPv4 in IPv6; write 10.0.0.1`}},
		{"a list with nothing in it", edits(wanted("10.0.0.1,")), ipam.Hold{}, "Accepted=false/InvalidAddress " + refused, "/", []string{`"" is no IPv4 address and no IPv6 address`}},
		{"a link-local address is in no pool", edits(families("", "IPv6"), wanted("fe80::1")), ipam.Hold{}, "Accepted=true/Valid Allocated=false/AddressOutsidePools", "/", nil},
		{"an IPv6 address that another service has", edits(families("", "IPv6"), wanted("2001:db8:6::1")), ipam.Hold{}, "Accepted=true/Valid Allocated=false/AddressInUse", "/",
			[]string{"port 80/tcp of 2001:db8:6::1 belongs to default/tenant6"}},

		// What cannot be had.
		{"both required, and no IPv6 address left: none", edits(families("RequireDualStack", dual...), note("loxilb.io/poolSelect", "full6")), ipam.Hold{},
			"Accepted=true/Valid Allocated=false/PoolExhausted", "/",
			[]string{"no IPv6 address: pool exhausted: pool full6 (2001:db8:6::1-2001:db8:6::1) has no address left with port 80/tcp free; add addresses with --cidrPools or remove a service; " +
				"spec.ipFamilyPolicy: PreferDualStack would do with one address"}},
		{"both required, and no IPv4 address left: none", edits(families("RequireDualStack", dual...), note("loxilb.io/poolSelect", "full4")), ipam.Hold{},
			"Accepted=true/Valid Allocated=false/PoolExhausted", "/", []string{"no IPv4 address: pool exhausted: pool full4 (10.4.0.1-10.4.0.1)"}},
		{"both required by one who had IPv4: it stays", edits(families("RequireDualStack", dual...), note("loxilb.io/poolSelect", "full6")), has("10.6.0.7"),
			"Accepted=true/Valid Allocated=false/PoolExhausted Reachable=true/EndpointsReady", "10.6.0.7/", []string{"10.6.0.7 from pool full6; no IPv6 address: pool exhausted"}},
		{"both preferred, and no IPv6 address left: one", edits(families("PreferDualStack", dual...), note("loxilb.io/poolSelect", "full6")), ipam.Hold{}, fourYet, "10.6.0.1/",
			[]string{"10.6.0.1 from pool full6; no IPv6 address: pool exhausted"}},
		{"both preferred, and no IPv4 address left: one", edits(families("PreferDualStack", dual...), note("loxilb.io/poolSelect", "full4")), ipam.Hold{},
			"Accepted=true/Valid Allocated=false/PoolExhausted IPv6Served=false/IPv6NotServed Reserved=true/Reserved", "/2001:db8:4::1",
			[]string{"2001:db8:4::1 from pool full4; no IPv4 address: pool exhausted", "no client reaches it before it has its IPv4 address; see the condition Allocated"}},
		{"both preferred, of a pool of IPv4", edits(families("PreferDualStack", dual...), note("loxilb.io/poolSelect", "four")), ipam.Hold{}, fourYet, "10.7.0.1/",
			[]string{"no IPv6 address: no address of this family: pool four has 10.7.0.1-10.7.0.254, and no IPv6 address; add some with --cidrPools"}},
		{"both preferred, of no such pool", edits(families("PreferDualStack", dual...), note("loxilb.io/poolSelect", "none")), ipam.Hold{}, "Accepted=true/Valid Allocated=false/NoSuchPool", "/", nil},

		// Who has something already.
		{"IPv4 becomes both", edits(families("PreferDualStack", dual...)), has("10.0.0.66"), both, "10.0.0.66/2001:db8::1", nil},
		{"both become IPv4", edits(families("SingleStack", "IPv4")), has("10.0.0.66", "2001:db8::66"), good, "10.0.0.66/", nil},
		{"both become IPv6", edits(families("SingleStack", "IPv6")), has("10.0.0.66", "2001:db8::66"), six, "/2001:db8::66", nil},
		{"both, from a memory of one and a status of the other", edits(families("RequireDualStack", dual...), ingress("10.0.0.66", "")), has("2001:db8::66"), both, "10.0.0.66/2001:db8::66", nil},
		{"both, from a status", edits(families("RequireDualStack", dual...), ingress("10.0.0.66", ""), ingressToo("2001:db8::66")), ipam.Hold{}, both, "10.0.0.66/2001:db8::66", nil},
		{"the first of several in a status", edits(ingress("10.0.0.66", ""), ingressToo("10.0.0.67")), ipam.Hold{}, good, "10.0.0.66/", nil},
		{"refused, with both", edits(families("RequireDualStack", dual...), note("loxilb.io/lbmode", "nonsense")), has("10.0.0.66", "2001:db8::66"),
			"Accepted=false/UnknownMode " + refused + " Reserved=true/Reserved", "/",
			[]string{"10.0.0.66 and 2001:db8::66 are kept until the service is accepted", "10.0.0.66, 2001:db8::66 for 80/tcp"}},
		{"refused, with both, from a status", edits(families("RequireDualStack", dual...), note("loxilb.io/lbmode", "nonsense"), told("Reserved", "10.0.0.66, 2001:db8::66 for 79/tcp")), ipam.Hold{},
			"Accepted=false/UnknownMode " + refused + " Reserved=true/Reserved", "/", []string{"10.0.0.66, 2001:db8::66 for 79/tcp"}},
		{"both, from a status that publishes one", edits(families("RequireDualStack", dual...), ingress("10.0.0.66", ""), told("Reserved", "2001:db8::66 for 80/tcp")), ipam.Hold{}, both, "10.0.0.66/2001:db8::66", nil},
		{"both, from a status that is behind", edits(families("RequireDualStack", dual...), ingress("10.0.0.67", ""), told("Reserved", "2001:db8::67 for 80/tcp")), has("10.0.0.66", "2001:db8::66"), both, "10.0.0.66/2001:db8::66", nil},

		// Clients.
		{"IPv6 alone, from IPv6 alone", edits(families("", "IPv6"), from("2001:db8:c::/48", "192.0.2.0/24")), ipam.Hold{}, six, "/2001:db8::1", nil},
		{"IPv6 alone, from IPv4 alone", edits(families("", "IPv6"), from("192.0.2.0/24")), ipam.Hold{}, "Accepted=false/InvalidSourceRange " + refused, "/",
			[]string{"spec.loadBalancerSourceRanges has no IPv6 prefix, so no client could come; add one"}},
		{"both, from IPv6 alone", edits(families("PreferDualStack", dual...), from("2001:db8:c::/48")), ipam.Hold{}, "Accepted=false/InvalidSourceRange " + refused, "/",
			[]string{"spec.loadBalancerSourceRanges has no IPv4 prefix, so no client could come; add one"}},

		// What an apiserver would not let through.
		{"a family that is none", edits(families("", "IPv5")), ipam.Hold{}, "Accepted=false/InvalidFamily " + refused, "/", []string{`spec.ipFamilies[0]: unknown family "IPv5"; use IPv4 or IPv6`}},
		{"one twice", edits(families("PreferDualStack", "IPv6", "IPv6")), ipam.Hold{}, "Accepted=false/InvalidFamily " + refused, "/", []string{"spec.ipFamilies[1]: IPv6 is there already"}},
		{"a policy that is none", edits(families("Dual")), ipam.Hold{}, "Accepted=false/InvalidFamily " + refused, "/", []string{`spec.ipFamilyPolicy: unknown policy "Dual"; use SingleStack`}},
		{"two that are one", edits(families("SingleStack", dual...)), ipam.Hold{}, "Accepted=false/InvalidFamily " + refused, "/", []string{"spec.ipFamilyPolicy is SingleStack; use PreferDualStack"}},
	} {
		t.Run(row.says, func(t *testing.T) {
			cfg := articleConfig(t)
			cfg.Pools = mustPools(t, "defaultPool=10.0.0.0/24,defaultPool=2001:db8::/64,second=10.9.0.0/24,second=2001:db8:9::/64,four=10.7.0.0/24,"+
				"full6=2001:db8:6::1/128,full6=10.6.0.0/24,full4=10.4.0.1/32,full4=2001:db8:4::/64")
			snap := twoByTwo()
			a := lb("a", append(edits(ports("80:30080/TCP")), row.edits...)...)
			a.CreationTimestamp = metav1.NewTime(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)) // the tenants were there first
			snap.Services = []*corev1.Service{
				lb("tenant4", ports("80:30081/TCP"), note("loxilb.io/staticIP", "10.4.0.1")),
				lb("tenant6", ports("80:30082/TCP"), families("", "IPv6"), note("loxilb.io/staticIP", "2001:db8:6::1")), a,
			}
			snap.Slices = append(snap.Slices, slice("a", "=8080", "10.42.2.5@worker1"), sixth(slice("a", "=8080", "2001:db8:42::5@worker1")))
			last := controller.Memory{}
			if len(row.last.List()) > 0 {
				last.Addresses = map[string]ipam.Hold{"default/a": row.last}
			}

			d := Decide(snap, cfg, last)

			s := serviceOf(t, d, "a")
			if got := printConditions(s); got != row.want {
				t.Errorf("conditions\ngot  %s\nwant %s", got, row.want)
			}
			if got := printAddresses(s.ExternalIPs) + "/" + printAddresses(s.ReservedIPs); got != row.external {
				t.Errorf("addresses %s, want %s", got, row.external)
			}
			for _, m := range row.messages {
				if !slices.ContainsFunc(s.Conditions, func(c v1.Condition) bool { return strings.Contains(c.Message, m) }) {
					t.Errorf("no condition says %q:\n%+v", m, s.Conditions)
				}
			}
			checkNoIPv6(t, d)
			external, _, _ := strings.Cut(row.external, "/")
			var want []string
			if external != "" {
				want = []string{external + ":80/tcp default -> 192.168.80.101:30080 (default/a)"}
			}
			var got []string
			for _, line := range printFrontends(nodeOf(t, d, "master1").State.Services) {
				if strings.Contains(line, "(default/a)") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("frontends (-want +got):\n%s", diff)
			}
			if a, b := printHolds(d.Memory), printHolds(Decide(snap, cfg, d.Memory).Memory); a != b {
				t.Errorf("the decision does not rest: %s, then %s", a, b)
			}
		})
	}
}

// checkNoIPv6 holds that nothing of IPv6 reaches a node: one that knows IPv4
// alone would refuse the state, or its BGP speaker the filters.
func checkNoIPv6(t interface{ Errorf(string, ...any) }, d Decision) {
	for _, n := range d.Nodes {
		for _, s := range n.State.Services {
			if err := v1.ValidateService(s); err != nil {
				t.Errorf("%s would refuse %s: %v", n.Name, s.Name, err)
			}
		}
		for _, r := range n.State.Roles {
			if !r.VIP.Is4() {
				t.Errorf("%s has a rank for %s", n.Name, r.VIP)
			}
		}
		if n.State.BGP == nil {
			continue
		}
		for _, p := range n.State.BGP.VIPs {
			if !p.Addr().Is4() {
				t.Errorf("the filters of %s have %s", n.Name, p)
			}
		}
	}
}

func edits(list ...func(*corev1.Service)) []func(*corev1.Service) { return list }

func wanted(address string) func(*corev1.Service) {
	return spec(func(s *corev1.ServiceSpec) { s.LoadBalancerIP = address })
}

// clusterIPs say that an apiserver has filled in what the Service leaves out.
func clusterIPs(list ...string) func(*corev1.Service) {
	return spec(func(s *corev1.ServiceSpec) { s.ClusterIPs = list })
}

func ingressToo(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
}

func printAddresses(list []netip.Addr) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

func printHolds(m controller.Memory) string {
	var texts []string
	for key, h := range m.Addresses {
		texts = append(texts, fmt.Sprintf("%s: %s", key, printAddresses(h.List())))
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// TestIPv6IsToldOnce holds that a service whose IPv6 address is not served gets
// one event, and another one only when that changes.
func TestIPv6IsToldOnce(t *testing.T) {
	cfg := controller.Config{Pools: mustPools(t, "10.0.0.0/24,2001:db8::/64")}
	var last Decision
	for _, step := range []struct {
		says  string
		edits []func(*corev1.Service)
		want  []string
	}{
		{"it is made", edits(families("", "IPv6")), []string{
			"Normal Assigned: 2001:db8::1 from pool defaultPool",
			"Warning IPv6NotServed: 2001:db8::1 is reserved for the service and not published, for nodes forward IPv4 alone; no client reaches it: give it an IPv4 address too (spec.ipFamilyPolicy: PreferDualStack)"}},
		{"nothing changes", edits(families("", "IPv6")), nil},
		{"it gets an IPv4 address too", edits(families("PreferDualStack", "IPv6", "IPv4")), []string{
			"Normal Assigned: 2001:db8::1 and 10.0.0.1 from pool defaultPool",
			"Warning IPv6NotServed: 2001:db8::1 is reserved for the service and not published, for nodes forward IPv4 alone; clients reach it at 10.0.0.1",
			"Normal EndpointsReady: 1 backend"}},
		{"still nothing changes", edits(families("PreferDualStack", "IPv6", "IPv4")), nil},
	} {
		snap := twoByTwo()
		snap.Services = []*corev1.Service{lb("a", append(edits(ports("80:30080/TCP")), step.edits...)...)}
		snap.Slices = []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.2.5@worker1")}
		d := Decide(snap, cfg, last.Memory)
		var got []string
		for _, e := range Events(last, d) {
			got = append(got, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Message))
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.says, diff)
		}
		last = d
	}
}

// TestUsageOfTwoFamilies holds that a pool whose IPv4 addresses run out does not
// look free for its IPv6 ones.
func TestUsageOfTwoFamilies(t *testing.T) {
	snap := twoByTwo()
	snap.Services = []*corev1.Service{
		lb("a", ports("80:30080/TCP"), families("PreferDualStack", "IPv4", "IPv6")), lb("b", ports("81:30081/TCP"), families("", "IPv6")),
		lb("c", ports("80:30082/TCP"), families("", "IPv6")),
	}
	d := Decide(snap, controller.Config{Pools: mustPools(t, "a=2001:db8::1/64,a=10.0.0.1-10.0.0.2,b=10.0.1.1/32")}, controller.Memory{})
	var got []string
	for _, p := range d.Pools {
		got = append(got, fmt.Sprintf("%s %s %v: %d of %d", p.Name, p.Family, p.Ranges, p.Used, p.Size))
	}
	want := []string{
		"a IPv4 [10.0.0.1-10.0.0.2]: 1 of 2", "a IPv6 [2001:db8::1-2001:db8::ffff:ffff:ffff:ffff]: 2 of 9223372036854775807",
		"b IPv4 [10.0.1.1-10.0.1.1]: 0 of 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
