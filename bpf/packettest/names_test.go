package packettest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/bpf"
)

// Rows name hosts. All have a neighbour entry but "nowhere", and those without a
// device of their own network: "far" is behind "gateway".
var hosts = map[string]netip.Addr{
	"vip":         netip.MustParseAddr("203.0.113.1"),
	"vip2":        netip.MustParseAddr("203.0.113.2"),
	"client":      netip.MustParseAddr("192.0.2.10"),
	"client2":     netip.MustParseAddr("192.0.2.11"),
	"gateway":     netip.MustParseAddr("192.0.2.254"),
	"far":         netip.MustParseAddr("198.18.0.9"),
	"lb":          netip.MustParseAddr("198.51.100.1"),
	"b1":          netip.MustParseAddr("198.51.100.11"),
	"b2":          netip.MustParseAddr("198.51.100.12"),
	"b3":          netip.MustParseAddr("198.51.100.13"),
	"lb2":         netip.MustParseAddr("198.51.100.2"),  // another load balancer node
	"pod":         netip.MustParseAddr("10.42.0.5"),     // on this node
	"aside":       netip.MustParseAddr("100.64.0.12"),   // a client behind slow0, which has no egress hook
	"narrow":      netip.MustParseAddr("198.51.100.41"), // route with MTU 1400
	"nowhere":     netip.MustParseAddr("198.51.100.99"), // no neighbour entry
	"slow":        netip.MustParseAddr("100.64.0.11"),   // XDP may not transmit there
	"hole":        netip.MustParseAddr("10.66.0.1"),     // route of type blackhole
	"prohibited":  netip.MustParseAddr("10.66.1.1"),
	"unreachable": netip.MustParseAddr("10.66.2.1"),
	"lost":        netip.MustParseAddr("10.99.0.1"), // no route
}

var neighbours = []string{"client", "client2", "gateway", "b1", "b2", "b3", "narrow", "slow", "lb2", "aside"}

// A nic is a device of the node.
type nic struct {
	name    string
	prefix  netip.Prefix // its address and network
	flags   uint32       // in the map devices
	number  byte
	bare    bool // without an XDP program: offloads work
	ifindex int  // set when the namespace is made
}

var nics = []*nic{
	{name: "client0", prefix: netip.MustParsePrefix("192.0.2.1/24"), flags: bpf.DeviceXDPTx | bpf.DeviceEgress, number: 1},
	{name: "server0", prefix: netip.MustParsePrefix("198.51.100.1/24"), flags: bpf.DeviceXDPTx | bpf.DeviceEgress, number: 2},
	{name: "slow0", bare: true, prefix: netip.MustParsePrefix("100.64.0.1/24"), number: 3},
}

func (n *nic) mac() net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n.number} }

func nicByName(name string) *nic {
	for _, n := range nics {
		if n.name == name {
			return n
		}
	}
	panic("no such device: " + name)
}

func nicWithMAC(mac net.HardwareAddr) *nic {
	for _, n := range nics {
		if bytes.Equal(n.mac(), mac) {
			return n
		}
	}
	panic("no device has MAC " + mac.String())
}

// nicTowards returns the device of a neighbour's network.
func nicTowards(host string) *nic {
	for _, n := range nics {
		if n.prefix.Contains(addr(host)) {
			return n
		}
	}
	panic("no device towards " + host)
}

func addr(host string) netip.Addr {
	if a, ok := hosts[host]; ok {
		return a
	}
	return netip.MustParseAddr(host)
}

// macOf returns the MAC that a host's neighbour entry has.
func macOf(host string) net.HardwareAddr {
	a := addr(host).As4()
	return append(net.HardwareAddr{2, 1}, a[:]...)
}

// ap parses "client:40000".
func ap(s string) netip.AddrPort {
	host, port, ok := strings.Cut(s, ":")
	if !ok {
		panic("no port in " + s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		panic(err)
	}
	return netip.AddrPortFrom(addr(host), uint16(n))
}

// nameOf is the inverse of ap.
func nameOf(a uint32, port uint16) string {
	address := bpf.AddrFrom(a)
	for name, host := range hosts {
		if host == address {
			return fmt.Sprintf("%s:%d", name, bpf.Port(port))
		}
	}
	return fmt.Sprintf("%s:%d", address, bpf.Port(port))
}
