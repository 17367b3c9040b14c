package overlay

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// kinds are the rtnetlink kinds of overlay devices, with the bytes that the
// outer headers over IPv4 take of the outer MTU (headers without options).
var kinds = map[string]int{
	"vxlan":     50, // outer IP 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348)
	"geneve":    50, // the same, without options (RFC 8926)
	"gre":       24, // outer IP 20, GRE 4 (RFC 2784)
	"gretap":    38, // and inner Ethernet 14
	"ipip":      20, // outer IP (RFC 2003)
	"wireguard": 60, // outer IP 20, UDP 8, header and tag 32
}

// Is tells whether packets leave the device inside others.
func Is(l netlink.Link) bool { return IsKind(l.Type()) }

// IsKind is Is by the device's rtnetlink kind, "vxlan" for one.
func IsKind(kind string) bool {
	_, ok := kinds[kind]
	return ok
}

// Overhead is how many bytes smaller the MTU of a device of this kind has to be
// than the MTU below it; zero for other kinds.
func Overhead(kind string) int { return kinds[kind] }

// Local is the device's own address below, from which outer packets come. The
// zero address where it has no fixed one.
func Local(l netlink.Link) netip.Addr {
	var ip net.IP
	switch d := l.(type) {
	case *netlink.Vxlan:
		ip = d.SrcAddr
	case *netlink.Iptun:
		ip = d.Local
	case *netlink.Gretun:
		ip = d.Local
	case *netlink.Gretap:
		ip = d.Local
	}
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
