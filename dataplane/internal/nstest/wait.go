package nstest

import (
	"net"
	"net/netip"
)

func parseNet(p netip.Prefix) (net.IP, *net.IPNet, error) { return net.ParseCIDR(p.String()) }
