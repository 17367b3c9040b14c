package nexthop

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestMain(m *testing.M) {
	nstest.Isolate()
	leaktest.Main(m)
}

var (
	onLink  = netip.MustParseAddr("192.0.2.2")
	behind  = netip.MustParseAddr("198.51.100.7")
	nowhere = netip.MustParseAddr("203.0.113.1")
	node    = netip.MustParseAddr("192.0.2.1")
)

type generation struct {
	mu  sync.Mutex
	now uint32
}

func (g *generation) NexthopGeneration() (uint32, error) { return g.read(), nil }

func (g *generation) SetNexthopGeneration(n uint32) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = n
	return nil
}

func (g *generation) read() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

type setup struct {
	*Keeper
	generation *generation
	other      *nstest.Namespace
}

// mustKeep runs a Keeper beside a host 192.0.2.2 that is also the gateway to
// 198.51.100.0/24.
func mustKeep(t *testing.T) setup {
	t.Helper()
	s := setup{generation: &generation{}, other: nstest.New(t)}
	s.other.Veth(t, "eth1", "peer1", "192.0.2.1/24", "192.0.2.2/24")
	nstest.MustRoute(t, "198.51.100.0/24", "192.0.2.2")
	var err error
	if s.Keeper, err = New(s.generation); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		s.Keeper.Close()
	})
	return s
}

func (s setup) expectUnreachable(t *testing.T, want ...netip.Addr) {
	t.Helper()
	set := map[netip.Addr]bool{}
	for _, a := range want {
		set[a] = true
	}
	waittest.Eventually(t, func() string {
		if got := s.Paths().Unreachable; !maps.Equal(got, set) {
			return fmt.Sprintf("unreachable are %v, want %v", got, want)
		}
		return ""
	})
}

func TestPathsAreKnownAtOnce(t *testing.T) {
	s := mustKeep(t)
	got := s.Watch([]netip.Addr{onLink, behind, nowhere, node, onLink})
	eth1, lo := nstest.MustLink(t, "eth1").Attrs().Index, nstest.MustLink(t, "lo").Attrs().Index
	want := Paths{
		NodeAddresses: map[netip.Addr]netip.Addr{onLink: node, behind: node, node: node},
		Ways: map[netip.Addr]Way{
			onLink: {Device: eth1, Kind: "veth", OnLink: true}, behind: {Device: eth1, Kind: "veth"},
			node: {Device: lo, Kind: "device", OnLink: true, Local: true},
		},
		Unreachable: map[netip.Addr]bool{nowhere: true},
	}
	if !got.equal(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The neighbour of a backend behind a gateway is the gateway.
func TestNeighboursAreResolvedWithoutTraffic(t *testing.T) {
	s := mustKeep(t)
	s.Watch([]netip.Addr{behind})
	waittest.Eventually(t, func() string {
		all, err := s.kernel.neighbours()
		if err != nil {
			return err.Error()
		}
		if n := (neighbour{nstest.MustLink(t, "eth1").Attrs().Index, onLink}); !all[n].nud.resolved() {
			return fmt.Sprintf("gateway %s has state %#x", onLink, int(all[n].nud))
		}
		return ""
	})
}

// The entries of flanneld and its like are not weir's to change, and nobody would
// answer for them: neither where the keeper has not looked yet, nor where one
// appears just when it wants to poke.
func TestAPermanentNeighbourStays(t *testing.T) {
	other := nstest.New(t)
	other.Veth(t, "eth1", "peer1", "192.0.2.1/24", "192.0.2.2/24")
	index := nstest.MustLink(t, "eth1").Attrs().Index
	err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
		IP: onLink.AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(&generation{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.Watch([]netip.Addr{onLink}) // before Run has looked
	if err := k.kernel.poke(neighbour{index, onLink}, false); err != nil {
		t.Error(err)
	}
	all, err := k.kernel.neighbours()
	if got := all[neighbour{index, onLink}].nud; err != nil || got != netlink.NUD_PERMANENT {
		t.Errorf("state %#x (%v), want permanent", int(got), err)
	}
}

func TestARouteComesAndGoes(t *testing.T) {
	s := mustKeep(t)
	s.Watch([]netip.Addr{nowhere})
	before := s.generation.read()
	nstest.MustRoute(t, "203.0.113.0/24", "192.0.2.2")
	s.expectUnreachable(t)
	if got := s.Paths().NodeAddresses[nowhere]; got != node {
		t.Errorf("source is %s, want %s", got, node)
	}
	<-s.Changed()
	if s.generation.read() == before {
		t.Error("the generation did not change with the route")
	}
	_, dst, _ := net.ParseCIDR("203.0.113.0/24")
	if err := netlink.RouteDel(&netlink.Route{Dst: dst}); err != nil {
		t.Fatal(err)
	}
	s.expectUnreachable(t, nowhere)
}

func TestASilentNeighbourIsUnreachableUntilItAnswers(t *testing.T) {
	s := mustKeep(t)
	s.Watch([]netip.Addr{netip.MustParseAddr("192.0.2.3"), onLink})
	s.expectUnreachable(t, netip.MustParseAddr("192.0.2.3"))
	s.other.Do(t, func() {
		address, err := netlink.ParseAddr("192.0.2.3/24")
		if err == nil {
			err = netlink.AddrAdd(nstest.MustLink(t, "peer1"), address)
		}
		if err != nil {
			t.Error(err)
		}
	})
	s.expectUnreachable(t)
}

func TestAnotherMACChangesTheGeneration(t *testing.T) {
	s := mustKeep(t)
	index := nstest.MustLink(t, "eth1").Attrs().Index
	set := func(mac string) {
		t.Helper()
		hw, err := net.ParseMAC(mac)
		if err == nil {
			err = netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: onLink.AsSlice(), HardwareAddr: hw})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set("02:00:00:00:00:01")
	waittest.Eventually(t, func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.neighbours[neighbour{index, onLink}].mac != [6]byte{2, 0, 0, 0, 0, 1} {
			return "the neighbour is not seen"
		}
		return ""
	})
	before := s.generation.read()
	set("02:00:00:00:00:02")
	waittest.Eventually(t, func() string {
		if s.generation.read() == before {
			return "the generation did not change with the MAC"
		}
		return ""
	})
}

// The answers of a pod must not come back inside the overlay.
func TestTheSourceTowardsAnOverlayIsTheOuterOne(t *testing.T) {
	s := mustKeep(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "flannel.1"
	device := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 1, Port: 8472, SrcAddr: node.AsSlice()}
	if err := netlink.LinkAdd(device); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(device) })
	address, err := netlink.ParseAddr("10.42.0.0/32")
	if err == nil {
		err = netlink.AddrAdd(device, address)
	}
	if err != nil {
		t.Fatal(err)
	}
	nstest.MustUp(t, "flannel.1")
	_, pods, _ := net.ParseCIDR("10.42.1.0/24")
	gateway := net.IPv4(10, 42, 1, 0)
	if err := netlink.RouteAdd(&netlink.Route{Dst: pods, Gw: gateway, LinkIndex: device.Index, Flags: int(netlink.FLAG_ONLINK)}); err != nil {
		t.Fatal(err)
	}
	pod := netip.MustParseAddr("10.42.1.5")
	if got := s.Watch([]netip.Addr{pod}).NodeAddresses[pod]; got != node {
		t.Errorf("source towards %s is %s, want %s", pod, got, node)
	}
}
