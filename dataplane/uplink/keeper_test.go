package uplink

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
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
	vip  = netip.MustParseAddr("203.0.113.1")
	vip2 = netip.MustParseAddr("203.0.113.2")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ports makes eth1 and eth2 and says which interfaces are like them.
func ports(t *testing.T) func(index int) bool {
	t.Helper()
	other := nstest.New(t)
	other.Veth(t, "eth1", "peer1", "192.0.2.1/24", "192.0.2.2/24")
	other.Veth(t, "eth2", "peer2", "198.51.100.1/24", "198.51.100.2/24")
	return func(index int) bool {
		l, err := netlink.LinkByIndex(index)
		return err == nil && strings.HasPrefix(l.Attrs().Name, "eth")
	}
}

// mustKeep runs a keeper over eth1 and eth2 until the test ends.
func mustKeep(t *testing.T) *Keeper {
	t.Helper()
	k, err := New(ports(t))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
		must(t, k.Clear())
		must(t, k.Close())
	})
	return k
}

// state prints the routes of ours: "203.0.113.1 dev eth1 src 192.0.2.1", with
// "asks ARP" where the neighbour is missing.
func state(t *testing.T) string {
	t.Helper()
	k, err := newKernel()
	must(t, err)
	defer k.handle.Close()
	routes, err := k.routes()
	must(t, err)
	var lines []string
	for _, a := range []netip.Addr{vip, vip2} {
		e, ok := routes[a]
		if !ok {
			continue
		}
		l, err := netlink.LinkByIndex(e.device)
		must(t, err)
		line := fmt.Sprintf("%s dev %s src %s", a, l.Attrs().Name, e.source)
		if !e.neighbour {
			line += " asks ARP"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func expect(t *testing.T, want string) {
	t.Helper()
	waittest.Eventually(t, func() string {
		if got := state(t); got != want {
			return fmt.Sprintf("routes %q, want %q", got, want)
		}
		return ""
	})
}

func TestRoutesFollow(t *testing.T) {
	k := mustKeep(t)
	ways := []Way{{Device: nstest.MustLink(t, "eth2").Attrs().Index, Source: netip.MustParseAddr("198.51.100.1")}}
	if failed := k.Watch(map[netip.Addr][]Way{vip: ways, vip2: nil}); len(failed) > 0 {
		t.Fatal(failed)
	}
	const first, second = "203.0.113.1 dev eth2 src 198.51.100.1", "203.0.113.2 dev eth1 src 192.0.2.1"
	expect(t, first+"; "+second)

	// With the interface that goes down its route goes; the other port takes over.
	eth2 := nstest.MustLink(t, "eth2")
	must(t, netlink.LinkSetDown(eth2))
	expect(t, "203.0.113.1 dev eth1 src 192.0.2.1; "+second)
	must(t, netlink.LinkSetUp(eth2))
	expect(t, first+"; "+second)

	// What somebody takes away comes back.
	must(t, netlink.NeighDel(&netlink.Neigh{LinkIndex: eth2.Attrs().Index, Family: unix.AF_INET, IP: vip.AsSlice()}))
	must(t, netlink.RouteDel(&netlink.Route{Dst: host(vip2), Scope: netlink.SCOPE_LINK, Protocol: Protocol}))
	expect(t, first+"; "+second)

	k.Watch(map[netip.Addr][]Way{vip: ways})
	expect(t, first)
	must(t, k.Clear())
	expect(t, "")
	if permanent, err := k.kernel.permanent(); err != nil || len(permanent) > 0 {
		t.Errorf("neighbours %v are left, %v", permanent, err)
	}
}

// A start finds the routes of the run before, and touches none of them before it
// is told what is wanted. Each keeper here is alone, as one process after another
// is: one that runs would put back what Clean takes away.
func TestRoutesAreAdopted(t *testing.T) {
	wanted := ports(t)
	first, err := New(wanted)
	must(t, err)
	first.Watch(map[netip.Addr][]Way{vip: nil, vip2: nil})
	const both = "203.0.113.1 dev eth1 src 192.0.2.1; 203.0.113.2 dev eth1 src 192.0.2.1"
	expect(t, both)
	must(t, first.Close())

	next, err := New(wanted)
	must(t, err)
	next.sync()
	expect(t, both)
	next.Watch(map[netip.Addr][]Way{vip: nil})
	expect(t, "203.0.113.1 dev eth1 src 192.0.2.1")
	must(t, next.Close())
	must(t, Clean())
	expect(t, "")
}

// A route of somebody else to the address stays, and the error says so.
func TestForeignRouteStays(t *testing.T) {
	k := mustKeep(t)
	foreign := &netlink.Route{Dst: host(vip), LinkIndex: nstest.MustLink(t, "eth2").Attrs().Index, Protocol: unix.RTPROT_STATIC, Scope: netlink.SCOPE_LINK}
	must(t, netlink.RouteAdd(foreign))
	if err := k.Watch(map[netip.Addr][]Way{vip: nil})[vip]; err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("error %v does not say that the route is somebody else's", err)
	}
	expect(t, "")
	must(t, netlink.RouteDel(foreign))
	expect(t, "203.0.113.1 dev eth1 src 192.0.2.1")
}
