package decide

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

var (
	vip1 = netip.MustParseAddr("192.0.2.1")
	vip2 = netip.MustParseAddr("192.0.2.2")
	pool = netip.MustParsePrefix("192.0.2.0/24")
)

func service(vip netip.Addr, port uint16, backends ...v1.Backend) v1.Service {
	return v1.Service{
		Frontend: v1.Frontend{VIP: vip, Port: port, Protocol: v1.TCP},
		Mode:     v1.ModeFullNAT, Backends: backends,
	}
}

func ad(prefix string, localPref, med uint32, prepend int) v1.Advertisement {
	return v1.Advertisement{Prefix: netip.MustParsePrefix(prefix), LocalPref: localPref, MED: med, Prepend: prepend}
}

func TestAdvertisements(t *testing.T) {
	backend := v1.Backend{Address: netip.MustParseAddr("198.51.100.1"), Port: 80}
	for _, tt := range []struct {
		name     string
		kind     Kind
		services []v1.Service
		roles    []v1.Role
		want     []v1.Advertisement
	}{
		{name: "nothing asked, nothing announced"},
		{
			name:     "the active node announces LOCAL_PREF 1000, MED 0 and its own AS once",
			services: []v1.Service{service(vip1, 80, backend)},
			roles:    []v1.Role{{VIP: vip1, Rank: 0, Nodes: 2}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 1000, 0, 0)},
		},
		{
			name:     "the first standby is ten worse in LOCAL_PREF and MED and prepends once",
			services: []v1.Service{service(vip1, 80, backend)},
			roles:    []v1.Role{{VIP: vip1, Rank: 1, Nodes: 2}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 990, 10, 1)},
		},
		{
			name:     "the last of 64 nodes still has a LOCAL_PREF above the default of 100",
			services: []v1.Service{service(vip1, 80)},
			roles:    []v1.Role{{VIP: vip1, Rank: 63, Nodes: 64}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 370, 630, 63)},
		},
		{
			name:     "three services that share an address announce it once",
			services: []v1.Service{service(vip1, 80), service(vip1, 81), service(vip1, 82)},
			roles:    []v1.Role{{VIP: vip1, Nodes: 1}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 1000, 0, 0)},
		},
		{
			name:     "an address without a role is not announced",
			services: []v1.Service{service(vip1, 80), service(vip2, 80)},
			roles:    []v1.Role{{VIP: vip2, Nodes: 1}},
			want:     []v1.Advertisement{ad("192.0.2.2/32", 1000, 0, 0)},
		},
		{
			name:  "a role without a service is not announced",
			roles: []v1.Role{{VIP: vip1, Nodes: 1}},
		},
		{
			name:     "an address whose last backend died stays announced",
			services: []v1.Service{service(vip1, 80)},
			roles:    []v1.Role{{VIP: vip1, Nodes: 1}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 1000, 0, 0)},
		},
		{
			name:     "each address has its own rank, and the result is sorted",
			services: []v1.Service{service(vip2, 80), service(vip1, 80)},
			roles:    []v1.Role{{VIP: vip1, Rank: 1, Nodes: 2}, {VIP: vip2, Rank: 0, Nodes: 2}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 990, 10, 1), ad("192.0.2.2/32", 1000, 0, 0)},
		},
		{
			name:     "of two roles for one address the weaker rank wins",
			services: []v1.Service{service(vip1, 80)},
			roles:    []v1.Role{{VIP: vip1, Rank: 2, Nodes: 3}, {VIP: vip1, Rank: 0, Nodes: 3}},
			want:     []v1.Advertisement{ad("192.0.2.1/32", 980, 20, 2)},
		},
		{
			name:     "a peer announces nothing, whatever it is told",
			kind:     Peer,
			services: []v1.Service{service(vip1, 80, backend)},
			roles:    []v1.Role{{VIP: vip1, Nodes: 1}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Config(tt.kind, v1.BGP{ASN: 64512}, tt.services, tt.roles)
			if d := cmp.Diff(tt.want, got.Advertisements, samePrefix, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("advertisements (-want +got):\n%s", d)
			}
		})
	}
}

var samePrefix = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestConfig(t *testing.T) {
	lb2, worker, client := netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("198.51.100.101"), netip.MustParseAddr("198.51.100.1")
	base := v1.BGP{ASN: 64512, RouterID: netip.MustParseAddr("198.51.100.10")}
	self := netip.MustParsePrefix("198.51.100.10/32")
	for _, tt := range []struct {
		name string
		kind Kind
		edit func(*v1.BGP)
		want func(*bgp.Config)
	}{
		{name: "zero fields get the defaults: port 179, no policy"},
		{
			name: "the listen port of --listenBGPPort is kept",
			edit: func(b *v1.BGP) { b.ListenPort = 1790 },
			want: func(c *bgp.Config) { c.Global.ListenPort = 1790 },
		},
		{
			name: "peers are sorted and get port 179 and the default hold time",
			edit: func(b *v1.BGP) {
				b.Peers = []v1.Peer{
					{Address: worker, ASN: 64512, Role: v1.PeerWorker},
					{Address: lb2, ASN: 64512, Role: v1.PeerLB},
					{Address: client, ASN: 65101, Port: 1179, Role: v1.PeerExternal, MultiHop: true},
				}
			},
			want: func(c *bgp.Config) {
				c.Peers = []bgp.Peer{
					{Address: client, ASN: 65101, Port: 1179, Role: v1.PeerExternal, MultiHop: true, HoldTime: 9, MaxPrefixes: 10_000},
					{Address: lb2, ASN: 64512, Port: 179, Role: v1.PeerLB, HoldTime: 9, Passive: true},
					{Address: worker, ASN: 64512, Port: 179, Role: v1.PeerWorker, HoldTime: 9, Passive: true},
				}
			},
		},
		{
			name: "every peer gets the hold time asked for",
			edit: func(b *v1.BGP) {
				b.HoldTime = 3
				b.Peers = []v1.Peer{{Address: lb2, ASN: 64512, Role: v1.PeerLB}}
			},
			want: func(c *bgp.Config) {
				c.Peers = []bgp.Peer{{Address: lb2, ASN: 64512, Port: 179, Role: v1.PeerLB, HoldTime: 3, Passive: true}}
			},
		},
		{
			name: "an LB node refuses the service prefixes, masked and once, from other LB nodes",
			edit: func(b *v1.BGP) {
				b.NextHopSelf = true
				b.VIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), pool}
			},
			want: func(c *bgp.Config) {
				c.Policy = bgp.Policy{NextHopSelf: true, RefuseFromLB: []netip.Prefix{pool}, RefuseFromExternal: []netip.Prefix{pool, self}}
			},
		},
		{
			name: "from external peers it refuses the addresses of all nodes too, and takes no more than it may",
			edit: func(b *v1.BGP) {
				b.Accept = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")}
				b.Peers = []v1.Peer{
					{Address: client, ASN: 65101, Role: v1.PeerExternal, TTLSecurity: true, MaxPrefixes: 7},
					{Address: worker, ASN: 64512, Role: v1.PeerWorker, MaxPrefixes: 7},
				}
			},
			want: func(c *bgp.Config) {
				c.Policy.RefuseFromExternal = []netip.Prefix{self, netip.PrefixFrom(worker, 32)}
				c.Policy.AcceptFromExternal = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
				c.Peers = []bgp.Peer{
					{Address: client, ASN: 65101, Port: 179, Role: v1.PeerExternal, HoldTime: 9, TTLSecurity: true, MaxPrefixes: 7},
					{Address: worker, ASN: 64512, Port: 179, Role: v1.PeerWorker, HoldTime: 9, Passive: true},
				}
			},
		},
		{
			name: "a peer refuses nothing: learning these prefixes is what it is for",
			kind: Peer,
			edit: func(b *v1.BGP) { b.VIPs = []netip.Prefix{pool} },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := base
			want := bgp.Config{Global: bgp.Global{ASN: 64512, RouterID: base.RouterID, ListenPort: 179}}
			if tt.edit != nil {
				tt.edit(&in)
			}
			if tt.want != nil {
				tt.want(&want)
			}
			want.Policy.RefuseFromWorkers = tt.kind == LB // they announce nothing, whatever else is set
			if tt.kind == LB && want.Policy.RefuseFromExternal == nil {
				refused := []netip.Prefix{self}
				for _, p := range want.Peers {
					if p.Role != v1.PeerExternal {
						refused = append(refused, netip.PrefixFrom(p.Address, 32))
					}
				}
				want.Policy.RefuseFromExternal = refused
			}
			got := Config(tt.kind, in, nil, nil)
			if d := cmp.Diff(want, got, samePrefix, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("config (-want +got):\n%s", d)
			}
		})
	}
}

// Of the two ends of a session inside the mesh exactly one dials; towards an
// external peer we always do.
func TestOneSideDials(t *testing.T) {
	role := map[Kind]v1.PeerRole{LB: v1.PeerLB, Peer: v1.PeerWorker}
	dials := func(kind, other Kind, self, peer netip.Addr) bool {
		c := Config(kind, v1.BGP{RouterID: self, Peers: []v1.Peer{{Address: peer, Role: role[other]}}}, nil, nil)
		return !c.Peers[0].Passive
	}
	a, b := netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("198.51.100.101")
	for _, tt := range []struct {
		name         string
		aKind, bKind Kind
		want         netip.Addr
	}{
		{"between LB nodes the higher address dials", LB, LB, b},
		{"between workers the higher address dials", Peer, Peer, b},
		{"a worker dials an LB node", LB, Peer, b},
		{"a worker dials an LB node with a higher address", Peer, LB, a},
	} {
		t.Run(tt.name, func(t *testing.T) {
			aDials, bDials := dials(tt.aKind, tt.bKind, a, b), dials(tt.bKind, tt.aKind, b, a)
			if aDials != (tt.want == a) || bDials != (tt.want == b) {
				t.Errorf("%s dials: %v, %s dials: %v, want %s alone", a, aDials, b, bDials, tt.want)
			}
		})
	}
}

// Ranks of one VIP differ on every node, so no two nodes may announce it
// alike, and a better rank must win by each of the three attributes.
func TestRanksNeverTie(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.IntRange(0, 62).Draw(t, "rank")
		b := rapid.IntRange(a+1, 63).Draw(t, "worse rank")
		x, y := Advertisement(vip1, a), Advertisement(vip1, b)
		if x.LocalPref <= y.LocalPref || x.MED >= y.MED || x.Prepend >= y.Prepend {
			t.Fatalf("rank %d announces %+v, which does not beat rank %d with %+v", a, x, b, y)
		}
	})
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var services []v1.Service
		var roles []v1.Role
		for i := range rapid.IntRange(0, 8).Draw(t, "VIPs") {
			vip := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			services = append(services, service(vip, 80), service(vip, 81))
			roles = append(roles, v1.Role{VIP: vip, Rank: i % 3, Nodes: 3})
		}
		want := Config(LB, v1.BGP{}, services, roles)
		got := Config(LB, v1.BGP{}, rapid.Permutation(services).Draw(t, "services"), rapid.Permutation(roles).Draw(t, "roles"))
		if !slices.Equal(want.Advertisements, got.Advertisements) {
			t.Fatalf("want %v, got %v", want.Advertisements, got.Advertisements)
		}
	})
}
