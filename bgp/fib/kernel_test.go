package fib

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNamespace returns the kernel of a namespace of its own, where this node
// is 198.51.100.101/24 on a link that is up.
func inNamespace(t *testing.T) (*Netlink, *netlink.Handle) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	// The thread comes back home, or it is left locked and ends with the test.
	runtime.LockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	ns, err := netns.New()
	must(t, err)
	defer ns.Close()
	k, err := OpenNetlink()
	must(t, err)
	t.Cleanup(func() { must(t, k.Close()) })
	must(t, netns.Set(home))
	runtime.UnlockOSThread()

	h := k.handle
	must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "peer"}))
	for _, name := range []string{"lo", "eth1", "peer"} {
		link, err := h.LinkByName(name)
		must(t, err)
		must(t, h.LinkSetUp(link))
		if name == "eth1" {
			must(t, h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: self.AsSlice(), Mask: net.CIDRMask(24, 32)}}))
		}
	}
	return k, h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNetlinkDoesWhatItIsAsked(t *testing.T) {
	k, _ := inNamespace(t)
	for _, tt := range []struct {
		name string
		step Step
		want []Route
	}{
		{"one next hop", Step{Add, route(vip, 0, lb1)}, []Route{route(vip, 0, lb1)}},
		{"replaced by two", Step{Replace, route(vip, 0, lb1, lb2)}, []Route{route(vip, 0, lb1, lb2)}},
		{"and by one again", Step{Replace, route(vip, 0, lb2)}, []Route{route(vip, 0, lb2)}},
		{"another metric stands beside", Step{Add, route(vip, 30, lb1)}, []Route{route(vip, 0, lb2), route(vip, 30, lb1)}},
		{"deleted by metric", Step{Delete, route(vip, 30, lb1)}, []Route{route(vip, 0, lb2)}},
		{"deleted", Step{Delete, route(vip, 0, lb2)}, nil},
		{"deleted again, which is success", Step{Delete, route(vip, 0, lb2)}, nil},
		{"a default route", Step{Add, route(netip.MustParsePrefix("0.0.0.0/0"), 30, lb1)}, []Route{route(netip.MustParsePrefix("0.0.0.0/0"), 30, lb1)}},
	} {
		must(t, k.Do(tt.step))
		o, err := k.Observe()
		must(t, err)
		if d := cmp.Diff(tt.want, o.Own, compare); d != "" {
			t.Fatalf("%s (-want +got):\n%s", tt.name, d)
		}
		if !slices.Contains(o.Connected, lan) || !slices.Contains(o.Local, self) {
			t.Fatalf("connected %v, local %v, want %s and %s among them", o.Connected, o.Local, lan, self)
		}
	}
}

// The planner never asks for it, but should a foreign route appear between
// looking and doing, the kernel has to refuse and to keep it.
func TestNetlinkLeavesForeignRoutes(t *testing.T) {
	k, h := inNamespace(t)
	static := func(metric int) *netlink.Route {
		return &netlink.Route{Dst: toIPNet(vip), Gw: lb2.AsSlice(), Protocol: unix.RTPROT_STATIC, Priority: metric, Table: unix.RT_TABLE_MAIN}
	}
	must(t, h.RouteAdd(static(0)))
	must(t, h.RouteAdd(static(100)))
	if err := k.Do(Step{Add, route(vip, 0, lb1)}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("add over a static route: %v, want %v", err, unix.EEXIST)
	}
	must(t, k.Do(Step{Delete, route(vip, 0, lb1)}))
	o, err := k.Observe()
	must(t, err)
	for _, metric := range []int{0, 100} {
		if got := o.Foreign[Key{vip, metric}]; got != "static" {
			t.Errorf("metric %d: protocol %q, want static", metric, got)
		}
	}
	if len(o.Own) != 0 {
		t.Errorf("own routes %v, want none", o.Own)
	}
}

// A route of protocol bgp with a metric that weir never uses is another
// daemon's: 20 is what zebra gives to all of FRR's, 32 is BIRD's.
func TestNetlinkTellsOtherDaemonsApart(t *testing.T) {
	k, h := inNamespace(t)
	for _, metric := range []int{20, 32} {
		must(t, h.RouteAdd(&netlink.Route{Dst: toIPNet(net1), Gw: lb1.AsSlice(), Protocol: unix.RTPROT_BGP, Priority: metric, Table: unix.RT_TABLE_MAIN}))
		o, err := k.Observe()
		must(t, err)
		if len(o.Own) != 0 || o.Foreign[Key{net1, metric}] != "bgp" {
			t.Errorf("metric %d: own %v, foreign %v", metric, o.Own, o.Foreign)
		}
	}
}
