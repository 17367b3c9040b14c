// Package nstest gives integration tests network namespaces. The test process
// itself moves to a new one and stands for the node; others are anonymous
// too, so that nothing can be left behind, even by SIGKILL.
package nstest

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const isolated = "WEIR_TEST_ISOLATED"

// Isolate moves the process to a network namespace of its own; call it first
// in TestMain. It executes the process again, because a namespace belongs to
// a thread and Go has many: after exec there is one, and its children inherit.
func Isolate() {
	if os.Getenv(isolated) != "" {
		return
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		fmt.Fprintf(os.Stderr, "make network namespace: %v; run the tests as root\n", err)
		os.Exit(1)
	}
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), isolated+"=1"))
	fmt.Fprintf(os.Stderr, "run tests in their namespace: %v\n", err)
	os.Exit(1)
}

// Namespace is another host.
type Namespace struct{ handle netns.NsHandle }

// New makes a namespace that lives as long as the test.
func New(t testing.TB) *Namespace {
	t.Helper()
	made := make(chan error)
	n := &Namespace{}
	go func() {
		// Never unlocked: the thread ends with the goroutine and is not
		// used for anything else.
		runtime.LockOSThread()
		var err error
		n.handle, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() { n.handle.Close() })
	n.Do(t, func() { MustUp(t, "lo") })
	return n
}

// Do runs f in the namespace. Sockets that f opens stay in it. f must not
// call t.FailNow.
func (n *Namespace) Do(t testing.TB, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(n.handle)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("enter network namespace: %v", err)
	}
}

// Veth makes a pair: name on the node with address, peer in n with
// peerAddress. Addresses are optional. Both ends are up when it returns.
func (n *Namespace) Veth(t testing.TB, name, peer string, address, peerAddress string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsFd(n.handle)}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatalf("make veth %s: %v", name, err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	n.Do(t, func() {
		addAddress(t, peer, peerAddress)
		MustUp(t, peer)
	})
	addAddress(t, name, address)
	MustUp(t, name)
}

func addAddress(t testing.TB, name, address string) {
	t.Helper()
	if address == "" {
		return
	}
	parsed, err := netlink.ParseAddr(address)
	if err == nil {
		err = netlink.AddrAdd(MustLink(t, name), parsed)
	}
	if err != nil {
		t.Errorf("add %s to %s: %v", address, name, err)
	}
}

// MustLink returns an interface of the namespace that the caller is in.
func MustLink(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Errorf("find interface %s: %v", name, err)
		return &netlink.Dummy{}
	}
	return l
}

// MustUp sets an interface up.
func MustUp(t testing.TB, name string) {
	t.Helper()
	if err := netlink.LinkSetUp(MustLink(t, name)); err != nil {
		t.Errorf("set %s up: %v", name, err)
	}
}

// MustRoute adds a route in the namespace that the caller is in.
func MustRoute(t testing.TB, prefix, via string) {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	_, dst, err := parseNet(p)
	if err == nil {
		err = netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: netip.MustParseAddr(via).AsSlice()})
	}
	if err != nil {
		t.Errorf("add route %s via %s: %v", prefix, via, err)
	}
}

// Sysctl writes a setting below /proc/sys/net/ipv4 of the caller's namespace.
func Sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
		t.Errorf("set %s: %v", name, err)
	}
}
