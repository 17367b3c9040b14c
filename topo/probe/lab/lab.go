// Package lab is the little network that the tests of probe and capture run in: a client and a server with a router
// between them whose iptables translate VIP, service port by service port, to the server.
//
//	client 10.1.0.1 (eth0) -- (eth0) 10.1.0.254 router 10.2.0.254 (eth1) -- (eth0) 10.2.0.1 server
package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/netns"
)

// Addresses of the lab.
var (
	Client = netip.MustParseAddr("10.1.0.1")
	Server = netip.MustParseAddr("10.2.0.1")
	// ServerSide is the router's address towards the server: what the server sees as its client.
	ServerSide = netip.MustParseAddr("10.2.0.254")
	VIP        = netip.MustParseAddr("123.123.123.1")
)

// Lab holds the namespaces. They are removed at the end of the test.
type Lab struct{ Client, Router, Server *netns.NetNS }

var serial atomic.Uint32

// New builds the network with the MTU in bytes. It fails the test, not the caller.
func New(t testing.TB, mtu int) *Lab {
	t.Helper()
	id := fmt.Sprintf("weirt-probe-%d-%d-", os.Getpid(), serial.Add(1))
	l := &Lab{Client: space(t, id+"client"), Router: space(t, id+"router"), Server: space(t, id+"server")}
	run := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run(link.Veth(link.End{NS: l.Client, Name: "eth0"}, link.End{NS: l.Router, Name: "eth0"}, mtu))
	run(link.Veth(link.End{NS: l.Router, Name: "eth1"}, link.End{NS: l.Server, Name: "eth0"}, mtu))
	for _, ns := range []*netns.NetNS{l.Client, l.Router, l.Server} {
		run(link.Up(ns, "lo"))
	}
	run(link.AddAddress(l.Client, "eth0", netip.MustParsePrefix("10.1.0.1/24")))
	run(link.AddAddress(l.Router, "eth0", netip.MustParsePrefix("10.1.0.254/24")))
	run(link.AddAddress(l.Router, "eth1", netip.MustParsePrefix("10.2.0.254/24")))
	run(link.AddAddress(l.Server, "eth0", netip.MustParsePrefix("10.2.0.1/24")))
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	run(link.AddRoute(l.Client, link.Route{To: everywhere, Via: netip.MustParseAddr("10.1.0.254")}))
	run(link.AddRoute(l.Server, link.Route{To: everywhere, Via: netip.MustParseAddr("10.2.0.254")}))
	run(link.Sysctl(l.Router, "net.ipv4.ip_forward", "1"))
	return l
}

func space(t testing.TB, name string) *netns.NetNS {
	t.Helper()
	ns, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
		if err := netns.Delete(name); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// DNAT makes the router translate VIP:port of a protocol to the server's port, and take the source for its own as
// fullnat does.
func (l *Lab) DNAT(t testing.TB, protocol string, port, to uint16) {
	t.Helper()
	l.Iptables(t, "-t", "nat", "-A", "PREROUTING", "-d", VIP.String(), "-p", protocol, "--dport", fmt.Sprint(port),
		"-j", "DNAT", "--to-destination", netip.AddrPortFrom(Server, to).String())
	l.Iptables(t, "-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-p", protocol, "--dport", fmt.Sprint(to), "-j", "MASQUERADE")
}

// Iptables runs iptables in the router.
func (l *Lab) Iptables(t testing.TB, args ...string) {
	t.Helper()
	err := l.Router.Do(func() error {
		if out, err := exec.Command("iptables", append([]string{"-w"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("iptables %v: %w: %s", args, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
