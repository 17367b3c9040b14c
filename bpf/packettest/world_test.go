package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
)

// world is a network namespace with devices, routes and neighbours, and the
// programs. Everything that depends on the namespace runs on a thread of its own
// inside it.
type world struct {
	*objects
	inside  chan func()
	entered atomic.Int64 // the thread of the test that has entered, 0: none
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	o, err := loaded()
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{objects: o, inside: make(chan func())}
	failed := make(chan error)
	go w.live(failed)
	if err := <-failed; err != nil {
		tb.Fatalf("make namespace: %v; run as root", err)
	}
	tb.Cleanup(func() { close(w.inside) })
	return w
}

// live enters a new namespace and works there. The thread is never unlocked, so
// it ends with the goroutine, and with it the namespace.
func (w *world) live(failed chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = makeNetwork()
	}
	if err == nil {
		err = stayOnOneCPU()
	}
	failed <- err
	if err != nil {
		return
	}
	for task := range w.inside {
		task()
	}
}

// stayOnOneCPU keeps the thread on the first that it may use: each CPU has copies of flows of its own.
func stayOnOneCPU() error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

// enter has a test run on a thread inside the namespace until its end, so that none has to be woken for each of its packets,
// which takes longer than the packet.
func (w *world) enter(t *testing.T) {
	t.Helper()
	var inside int
	var before unix.CPUSet
	var err error
	w.do(func() { inside, err = openNamespace() })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inside)
	runtime.LockOSThread()
	outside, err := openNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.entered.Store(0)
		// A thread that cannot go back stays locked, and ends with the test.
		if err := errors.Join(unix.Setns(outside, unix.CLONE_NEWNET), unix.SchedSetaffinity(0, &before), unix.Close(outside)); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	})
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.Setns(inside, unix.CLONE_NEWNET), stayOnOneCPU()); err != nil {
		t.Fatal(err)
	}
	w.entered.Store(int64(unix.Gettid()))
}

// openNamespace opens the network namespace of the thread.
func openNamespace() (int, error) {
	return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// do runs task on a thread inside the namespace: the test's own if it has entered.
func (w *world) do(task func()) {
	if w.entered.Load() == int64(unix.Gettid()) {
		task()
		return
	}
	done := make(chan struct{})
	w.inside <- func() { defer close(done); task() }
	<-done
}

func makeNetwork() error {
	for file, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward":              "1",
		"/proc/sys/net/ipv6/conf/all/disable_ipv6":   "1",
		"/proc/sys/net/ipv4/conf/default/forwarding": "1",
	} {
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, n := range nics {
		if err := n.make(); err != nil {
			return fmt.Errorf("make %s: %w", n.name, err)
		}
	}
	for _, host := range neighbours {
		err := netlink.NeighSet(&netlink.Neigh{LinkIndex: nicTowards(host).ifindex, IP: addr(host).AsSlice(),
			HardwareAddr: macOf(host), State: netlink.NUD_PERMANENT})
		if err != nil {
			return fmt.Errorf("add neighbour %s: %w", host, err)
		}
	}
	return addRoutes()
}

func (n *nic) make() error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: n.name, MTU: 65535, HardwareAddr: n.mac()},
		PeerName: n.name + "p"}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	peer, err := netlink.LinkByName(n.name + "p")
	if err != nil {
		return err
	}
	n.ifindex = veth.Index
	address := &netlink.Addr{IPNet: &net.IPNet{IP: n.prefix.Addr().AsSlice(), Mask: net.CIDRMask(n.prefix.Bits(), 32)}}
	if err := errors.Join(netlink.LinkSetMTU(peer, 65535), netlink.LinkSetUp(peer),
		netlink.LinkSetUp(veth), netlink.AddrAdd(veth, address)); err != nil {
		return err
	}
	if n.bare {
		return nil
	}
	return n.attachPass()
}

// attachPass gives the device an XDP program, because test_run takes only devices
// with a registered receive queue. It lives as long as the device.
func (n *nic) attachPass() error {
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Flags: unix.BPF_F_XDP_HAS_FRAGS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		return err
	}
	defer pass.Close()
	l, err := netlink.LinkByIndex(n.ifindex)
	if err != nil {
		return err
	}
	return netlink.LinkSetXdpFd(l, pass.FD())
}

func addRoutes() error {
	client, server := nicByName("client0"), nicByName("server0")
	route := func(dst string) *netlink.Route {
		_, network, _ := net.ParseCIDR(dst)
		return &netlink.Route{Dst: network}
	}
	far := route("198.18.0.0/15")
	far.LinkIndex, far.Gw = client.ifindex, addr("gateway").AsSlice()
	narrow := route("198.51.100.41/32")
	narrow.LinkIndex, narrow.MTU, narrow.MTULock = server.ifindex, 1400, true
	hole, prohibited, unreachable := route("10.66.0.0/24"), route("10.66.1.0/24"), route("10.66.2.0/24")
	hole.Type, prohibited.Type, unreachable.Type = unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT, unix.RTN_UNREACHABLE
	for _, r := range []*netlink.Route{far, narrow, hole, prohibited, unreachable} {
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("add route %s: %w", r.Dst, err)
		}
	}
	return nil
}

// run sends a frame through a hook's program as received by a device, or as it
// leaves by one.
func (w *world) run(hook bpf.Hook, from *nic, frame []byte, gsoSize uint32) (verdict uint32, out []byte, err error) {
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+512),
		Context: runContext(hook, from, len(frame), gsoSize)}
	w.do(func() { verdict, err = w.programs[hook].Run(options) })
	return verdict, options.DataOut, err
}

// runContext returns a struct xdp_md or the part of a struct __sk_buff that
// test_run accepts: the kernel refuses other fields that are not 0.
func runContext(hook bpf.Hook, from *nic, length int, gsoSize uint32) []byte {
	if hook == bpf.HookXDP {
		md := make([]byte, 24)
		binary.NativeEndian.PutUint32(md[4:], uint32(length))
		binary.NativeEndian.PutUint32(md[12:], uint32(from.ifindex))
		return md
	}
	const ingressIfindex, ifindex, gsoSegs, gso = 36, 40, 164, 176
	skb := make([]byte, 192)
	binary.NativeEndian.PutUint32(skb[ingressIfindex:], uint32(from.ifindex))
	binary.NativeEndian.PutUint32(skb[ifindex:], uint32(from.ifindex))
	if gsoSize > 0 {
		binary.NativeEndian.PutUint32(skb[gsoSegs:], uint32(length)/gsoSize+1)
		binary.NativeEndian.PutUint32(skb[gso:], gsoSize)
	}
	return skb
}

func (w *world) setNeighbour(t *testing.T, host string, mac net.HardwareAddr) {
	t.Helper()
	var err error
	w.do(func() {
		err = netlink.NeighSet(&netlink.Neigh{LinkIndex: nicTowards(host).ifindex, IP: addr(host).AsSlice(),
			HardwareAddr: mac, State: netlink.NUD_PERMANENT})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// setRoute has a host's packets go to a neighbour while the test runs.
func (w *world) setRoute(t *testing.T, host, gateway string) {
	t.Helper()
	route := &netlink.Route{LinkIndex: nicTowards(gateway).ifindex, Gw: addr(gateway).AsSlice(),
		Dst: &net.IPNet{IP: addr(host).AsSlice(), Mask: net.CIDRMask(32, 32)}}
	change := func(what func(*netlink.Route) error) {
		t.Helper()
		var err error
		w.do(func() { err = what(route) })
		if err != nil {
			t.Fatalf("route to %s by %s: %v", host, gateway, err)
		}
	}
	change(netlink.RouteAdd)
	t.Cleanup(func() { change(netlink.RouteDel) })
}

func (w *world) clock(t *testing.T) bpf.Clock {
	t.Helper()
	var now bpf.Clock
	if _, err := w.readClock.Run(&ebpf.RunOptions{Context: bpf.Clock{}, ContextOut: &now}); err != nil {
		t.Fatal(err)
	}
	return now
}
