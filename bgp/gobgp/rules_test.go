package gobgp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

var (
	pool   = netip.MustParsePrefix("203.0.113.0/24")
	vip1   = netip.MustParsePrefix("203.0.113.1/32")
	vip2   = netip.MustParsePrefix("203.0.113.2/32")
	client = netip.MustParseAddr("198.51.100.1")
	lb2    = netip.MustParseAddr("198.51.100.11")
	lb3    = netip.MustParseAddr("198.51.100.12")
	worker = netip.MustParseAddr("198.51.100.101")
)

func TestRules(t *testing.T) {
	mesh := map[netip.Addr]v1.PeerRole{client: v1.PeerExternal, lb3: v1.PeerLB, lb2: v1.PeerLB, worker: v1.PeerWorker}
	for _, tt := range []struct {
		name    string
		policy  bgp.Policy
		peers   map[netip.Addr]v1.PeerRole
		prepend map[netip.Prefix]int
		want    rules
		imports []string
		exports []string
	}{
		{name: "nothing asked, no policy"},
		{
			name:    "next-hop-self alone is the article's policy",
			policy:  bgp.Policy{NextHopSelf: true},
			peers:   mesh,
			want:    rules{nextHopSelf: true},
			exports: []string{"set-next-hop-self-gpolicy"},
		},
		{
			name:    "VIPs are refused from LB nodes and from nobody else",
			policy:  bgp.Policy{RefuseFromLB: []netip.Prefix{pool}},
			peers:   mesh,
			want:    rules{refuse: []netip.Prefix{pool}, lbs: []netip.Addr{lb2, lb3}},
			imports: []string{"refuse-lb-vips-gpolicy"},
		},
		{
			name:   "without LB nodes nothing is refused: GoBGP takes an empty set as any",
			policy: bgp.Policy{RefuseFromLB: []netip.Prefix{pool}},
			peers:  map[netip.Addr]v1.PeerRole{worker: v1.PeerWorker},
		},
		{
			name:    "from workers nothing is taken",
			policy:  bgp.Policy{RefuseFromWorkers: true},
			peers:   mesh,
			want:    rules{workers: []netip.Addr{worker}},
			imports: []string{"refuse-workers-gpolicy"},
		},
		{
			name:   "without workers nobody is refused for one",
			policy: bgp.Policy{RefuseFromWorkers: true},
			peers:  map[netip.Addr]v1.PeerRole{client: v1.PeerExternal, lb2: v1.PeerLB},
		},
		{
			name:  "without VIPs nothing is refused either",
			peers: mesh,
		},
		{
			name:    "external peers are guarded, and what they may bring is bounded",
			policy:  bgp.Policy{RefuseFromExternal: []netip.Prefix{vip2, vip1}, AcceptFromExternal: []netip.Prefix{pool}},
			peers:   mesh,
			want:    rules{guard: []netip.Prefix{vip1, vip2}, accept: []netip.Prefix{pool}, guarded: []netip.Addr{client}},
			imports: []string{"guard-external-gpolicy"},
		},
		{
			name:    "they may bring nothing",
			policy:  bgp.Policy{AcceptFromExternal: []netip.Prefix{}},
			peers:   mesh,
			want:    rules{accept: []netip.Prefix{}, guarded: []netip.Addr{client}},
			imports: []string{"guard-external-gpolicy"},
		},
		{
			name:   "without external peers there is nobody to guard against",
			policy: bgp.Policy{RefuseFromExternal: []netip.Prefix{pool}, AcceptFromExternal: []netip.Prefix{}},
			peers:  map[netip.Addr]v1.PeerRole{worker: v1.PeerWorker},
		},
		{
			name:    "an active node prepends nothing",
			peers:   mesh,
			prepend: map[netip.Prefix]int{vip1: 0},
		},
		{
			name:    "a standby prepends, as often as each prefix asks",
			policy:  bgp.Policy{NextHopSelf: true},
			peers:   mesh,
			prepend: map[netip.Prefix]int{vip1: 2, vip2: 1},
			want: rules{
				nextHopSelf: true,
				prepend:     []prepended{{1, []netip.Prefix{vip2}}, {2, []netip.Prefix{vip1}}},
				external:    []netip.Addr{client},
			},
			exports: []string{"set-next-hop-self-gpolicy", "prepend-standby-gpolicy"},
		},
		{
			name:    "without external peers nothing is prepended: iBGP would see a loop",
			peers:   map[netip.Addr]v1.PeerRole{worker: v1.PeerWorker},
			prepend: map[netip.Prefix]int{vip1: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			peers := make(map[netip.Addr]bgp.Peer)
			for a, r := range tt.peers {
				peers[a] = bgp.Peer{Address: a, Role: r}
			}
			ads := make(map[netip.Prefix]v1.Advertisement)
			for p, n := range tt.prepend {
				ads[p] = v1.Advertisement{Prefix: p, Prepend: n}
			}
			got := rulesOf(64512, tt.policy, peers, ads)
			tt.want.asn = 64512
			opts := cmp.Options{
				cmp.AllowUnexported(rules{}, prepended{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
			}
			if d := cmp.Diff(tt.want, got, opts); d != "" {
				t.Errorf("rules (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.imports, got.imports()); d != "" {
				t.Errorf("imports (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.exports, got.exports()); d != "" {
				t.Errorf("exports (-want +got):\n%s", d)
			}
			if n := len(got.api().GetPolicies()); n != len(tt.imports)+len(tt.exports) {
				t.Errorf("%d policies for %d assignments", n, len(tt.imports)+len(tt.exports))
			}
		})
	}
}
