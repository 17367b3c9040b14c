package fib

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/bgp"
)

var (
	vips = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	vip  = netip.MustParsePrefix("203.0.113.1/32")
	net1 = netip.MustParsePrefix("192.0.2.0/25")
	lan  = netip.MustParsePrefix("198.51.100.0/24")
	lb1  = netip.MustParseAddr("198.51.100.10")
	lb2  = netip.MustParseAddr("198.51.100.11")
	self = netip.MustParseAddr("198.51.100.101")
	far  = netip.MustParseAddr("192.0.2.254")
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateComparable(netip.Addr{}),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(Problem{}, "Message"),
}

func learned(p netip.Prefix, hops ...netip.Addr) bgp.Route {
	return bgp.Route{Prefix: p, NextHops: hops}
}

func route(p netip.Prefix, metric int, hops ...netip.Addr) Route {
	return Route{Prefix: p, Metric: metric, NextHops: hops}
}

func TestDesired(t *testing.T) {
	for _, tt := range []struct {
		name       string
		learned    []bgp.Route
		originated []netip.Prefix
		want       []Route
	}{
		{name: "nothing learned, nothing wanted"},
		{
			name:    "a service address gets metric 0, as LoxiLB shows it",
			learned: []bgp.Route{learned(vip, lb1)},
			want:    []Route{route(vip, 0, lb1)},
		},
		{
			name:    "any other prefix gets metric 30, behind kernel and CNI",
			learned: []bgp.Route{learned(net1, lb1)},
			want:    []Route{route(net1, 30, lb1)},
		},
		{
			name:    "a prefix that merely contains service addresses is an ordinary one",
			learned: []bgp.Route{learned(netip.MustParsePrefix("203.0.112.0/23"), lb1)},
			want:    []Route{route(netip.MustParsePrefix("203.0.112.0/23"), 30, lb1)},
		},
		{
			name:    "a prefix with two equal paths gets both next hops, sorted",
			learned: []bgp.Route{learned(net1, lb2, lb1)},
			want:    []Route{route(net1, 30, lb1, lb2)},
		},
		{
			name:    "a service address never gets two: the best path alone",
			learned: []bgp.Route{learned(vip, lb2, lb1)},
			want:    []Route{route(vip, 0, lb2)},
		},
		{
			name:    "an address of this node is not routed elsewhere",
			learned: []bgp.Route{learned(netip.PrefixFrom(self, 32), lb1)},
		},
		{
			name:    "a network that this node has an address in may be",
			learned: []bgp.Route{learned(lan, lb1)},
			want:    []Route{route(lan, 30, lb1)},
		},
		{
			name:       "a service address that this node announces is not routed elsewhere",
			learned:    []bgp.Route{learned(vip, lb1)},
			originated: []netip.Prefix{vip},
		},
		{
			name:    "this node is not its own next hop",
			learned: []bgp.Route{learned(net1, self, lb1), learned(vip, self)},
			want:    []Route{route(net1, 30, lb1)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Desired(Wanted{Routes: tt.learned, VIPs: vips, Originated: tt.originated}, []netip.Addr{self})
			if d := cmp.Diff(tt.want, got, compare); d != "" {
				t.Errorf("routes (-want +got):\n%s", d)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name      string
		desired   []Route
		own       []Route
		foreign   map[Key]string
		inherited []netip.Prefix
		steps     []Step
		problems  []Problem
	}{
		{name: "nothing wanted, nothing there"},
		{
			name:    "a new route is added",
			desired: []Route{route(vip, 0, lb1)},
			steps:   []Step{{Add, route(vip, 0, lb1)}},
		},
		{
			name:    "a route that stands already takes no step",
			desired: []Route{route(net1, 30, lb1, lb2)},
			own:     []Route{route(net1, 30, lb1, lb2)},
		},
		{
			name:    "another next hop replaces the route in place",
			desired: []Route{route(vip, 0, lb2)},
			own:     []Route{route(vip, 0, lb1)},
			steps:   []Step{{Replace, route(vip, 0, lb2)}},
		},
		{
			name:    "one next hop less replaces the route in place",
			desired: []Route{route(net1, 30, lb1)},
			own:     []Route{route(net1, 30, lb1, lb2)},
			steps:   []Step{{Replace, route(net1, 30, lb1)}},
		},
		{
			name:  "a withdrawn route is deleted",
			own:   []Route{route(vip, 0, lb1)},
			steps: []Step{{Delete, route(vip, 0, lb1)}},
		},
		{
			name:    "a changed metric adds before it deletes",
			desired: []Route{route(vip, 0, lb1)},
			own:     []Route{route(vip, 30, lb1)},
			steps:   []Step{{Add, route(vip, 0, lb1)}, {Delete, route(vip, 30, lb1)}},
		},
		{
			name:     "a foreign route with the same metric is left alone",
			desired:  []Route{route(vip, 0, lb1)},
			foreign:  map[Key]string{{vip, 0}: "static"},
			problems: []Problem{{Prefix: vip, Reason: ForeignRoute}},
		},
		{
			name:    "a foreign route with another metric does not matter",
			desired: []Route{route(vip, 0, lb1)},
			foreign: map[Key]string{{vip, 100}: "static"},
			steps:   []Step{{Add, route(vip, 0, lb1)}},
		},
		{
			name:    "foreign routes are never deleted",
			foreign: map[Key]string{{net1, 0}: "static", {vip, 0}: "bird"},
		},
		{
			name:     "a next hop that is on no link is not tried",
			desired:  []Route{route(net1, 30, far)},
			problems: []Problem{{Prefix: net1, Reason: NextHopUnreachable}},
		},
		{
			name:     "of several next hops the reachable ones are used",
			desired:  []Route{route(net1, 30, far, lb1)},
			steps:    []Step{{Add, route(net1, 30, lb1)}},
			problems: []Problem{{Prefix: net1, Reason: NextHopUnreachable}},
		},
		{
			name:     "a route whose next hop became unreachable is deleted",
			desired:  []Route{route(net1, 30, far)},
			own:      []Route{route(net1, 30, far)},
			steps:    []Step{{Delete, route(net1, 30, far)}},
			problems: []Problem{{Prefix: net1, Reason: NextHopUnreachable}},
		},
		{
			name:     "a part of a subnet of this node would divert its neighbours",
			desired:  []Route{route(netip.MustParsePrefix("198.51.100.64/26"), 30, lb1), route(netip.PrefixFrom(lb2, 32), 30, lb1)},
			own:      []Route{route(netip.PrefixFrom(lb2, 32), 30, lb1)},
			steps:    []Step{{Delete, route(netip.PrefixFrom(lb2, 32), 30, lb1)}},
			problems: []Problem{{Prefix: netip.MustParsePrefix("198.51.100.64/26"), Reason: InsideSubnet}, {Prefix: netip.PrefixFrom(lb2, 32), Reason: InsideSubnet}},
		},
		{
			name:    "a service address may be of the nodes' own subnet, and a wider route may be around it",
			desired: []Route{route(netip.MustParsePrefix("198.51.100.200/32"), MetricVIP, lb1), route(netip.MustParsePrefix("198.51.0.0/16"), 30, lb1), route(lan, 30, lb1)},
			steps:   []Step{{Add, route(netip.MustParsePrefix("198.51.100.200/32"), MetricVIP, lb1)}, {Add, route(netip.MustParsePrefix("198.51.0.0/16"), 30, lb1)}, {Add, route(lan, 30, lb1)}},
		},
		{
			name:      "an inherited route is not swept",
			own:       []Route{route(vip, 0, lb1)},
			inherited: []netip.Prefix{vip},
		},
		{
			name:      "an inherited route is not moved by the session that came up first",
			desired:   []Route{route(vip, 0, lb2)},
			own:       []Route{route(vip, 0, lb1)},
			inherited: []netip.Prefix{vip},
		},
		{
			name:      "an inherited route that vanished is added again",
			desired:   []Route{route(vip, 0, lb2)},
			inherited: []netip.Prefix{vip},
			steps:     []Step{{Add, route(vip, 0, lb2)}},
		},
		{
			name:      "beside an inherited route the others go on",
			desired:   []Route{route(net1, 30, lb1)},
			own:       []Route{route(vip, 0, lb1)},
			inherited: []netip.Prefix{vip},
			steps:     []Step{{Add, route(net1, 30, lb1)}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inherited := make(map[netip.Prefix]bool)
			for _, p := range tt.inherited {
				inherited[p] = true
			}
			o := Observed{Own: tt.own, Foreign: tt.foreign, Connected: []netip.Prefix{lan}, Subnets: []netip.Prefix{lan}, Local: []netip.Addr{self}}
			steps, problems := Plan(tt.desired, o, inherited)
			if d := cmp.Diff(tt.steps, steps, compare); d != "" {
				t.Errorf("steps (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.problems, problems, compare); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}

// Whatever is learned and whatever stands: once the steps are done, a second
// plan has none, and no step has the key of a foreign route.
func TestPlanConverges(t *testing.T) {
	hops := []netip.Addr{lb1, lb2, far}
	prefixes := []netip.Prefix{vip, net1, lan}
	genRoute := rapid.Custom(func(t *rapid.T) Route {
		n := rapid.IntRange(1, 3).Draw(t, "hops")
		return route(rapid.SampledFrom(prefixes).Draw(t, "prefix"), rapid.SampledFrom([]int{0, MetricOther}).Draw(t, "metric"), hops[:n]...)
	})
	unique := func(r Route) Key { return r.key() }
	rapid.Check(t, func(t *rapid.T) {
		desired := rapid.SliceOfDistinct(genRoute, func(r Route) netip.Prefix { return r.Prefix }).Draw(t, "desired")
		o := Observed{
			Own:       rapid.SliceOfDistinct(genRoute, unique).Draw(t, "own"),
			Foreign:   make(map[Key]string),
			Connected: []netip.Prefix{lan},
		}
		for _, r := range rapid.SliceOfDistinct(genRoute, unique).Draw(t, "foreign") {
			o.Foreign[r.key()] = "static"
		}
		steps, _ := Plan(desired, o, nil)
		for _, s := range steps {
			if _, taken := o.Foreign[s.Route.key()]; taken && s.Op != Delete {
				t.Fatalf("step %v touches a foreign route", s)
			}
		}
		o.Own = after(o.Own, steps, nil)
		if again, _ := Plan(desired, o, nil); len(again) > 0 {
			t.Fatalf("second plan has steps %v", again)
		}
	})
}

// A service address of the node's own is named; what else is left out is usual.
func TestBound(t *testing.T) {
	vip, own, other := netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("203.0.113.2/32"), netip.MustParsePrefix("192.0.2.7/32")
	w := Wanted{
		Routes: []bgp.Route{{Prefix: vip}, {Prefix: own}, {Prefix: other}},
		VIPs:   []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
	}
	got := Bound(w, []netip.Addr{own.Addr(), other.Addr()})
	if len(got) != 1 || got[0].Prefix != own || got[0].Reason != AddressBound {
		t.Errorf("bound are %+v, want %s alone", got, own)
	}
}
