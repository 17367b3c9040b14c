package fib

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// families that are read and written.
var families = []int{unix.AF_INET}

// Netlink is the kernel of the network namespace that it was made in. It
// needs CAP_NET_ADMIN. Observe and Do may be used from one goroutine at a
// time, Watch beside them.
type Netlink struct {
	handle *netlink.Handle
}

var _ Kernel = (*Netlink)(nil)

// OpenNetlink opens the current network namespace. The caller closes it.
func OpenNetlink() (*Netlink, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &Netlink{handle: h}, nil
}

// Close closes the socket. Routes stay.
func (k *Netlink) Close() error {
	k.handle.Close()
	return nil
}

// Observe implements Kernel.
func (k *Netlink) Observe() (Observed, error) {
	o := Observed{Foreign: make(map[Key]string)}
	for _, family := range families {
		routes, err := k.handle.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return Observed{}, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			o.sort(family, r)
		}
		addrs, err := k.handle.AddrList(nil, family)
		if err != nil {
			return Observed{}, fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range addrs {
			o.Local = append(o.Local, fromIP(a.IP))
		}
	}
	return o, nil
}

// sort puts r where it belongs.
func (o *Observed) sort(family int, r netlink.Route) {
	route := Route{Prefix: fromIPNet(family, r.Dst), Metric: r.Priority, NextHops: gateways(r)}
	ours := route.Metric == MetricVIP || route.Metric == MetricOther
	if r.Protocol == unix.RTPROT_BGP && ours && len(route.NextHops) > 0 {
		o.Own = append(o.Own, route)
		return
	}
	o.Foreign[route.key()] = r.Protocol.String()
	if r.Type == unix.RTN_UNICAST && r.Scope == netlink.SCOPE_LINK {
		o.Connected = append(o.Connected, route.Prefix)
		if r.Protocol == unix.RTPROT_KERNEL {
			o.Subnets = append(o.Subnets, route.Prefix)
		}
	}
}

func gateways(r netlink.Route) []netip.Addr {
	var out []netip.Addr
	if r.Gw != nil {
		out = append(out, fromIP(r.Gw))
	}
	for _, hop := range r.MultiPath {
		if hop.Gw != nil {
			out = append(out, fromIP(hop.Gw))
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// Do implements Kernel.
func (k *Netlink) Do(s Step) error {
	r := &netlink.Route{
		Dst:      toIPNet(s.Route.Prefix),
		Table:    unix.RT_TABLE_MAIN,
		Protocol: unix.RTPROT_BGP,
		Priority: s.Route.Metric,
	}
	if s.Op == Delete {
		// Without next hops the kernel takes the route by prefix, metric and
		// protocol, which no other than ours has.
		err := k.handle.RouteDel(r)
		if errors.Is(err, unix.ESRCH) {
			return nil // gone already
		}
		return err
	}
	if len(s.Route.NextHops) == 1 {
		r.Gw = s.Route.NextHops[0].AsSlice()
	} else {
		for _, h := range s.Route.NextHops {
			r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{Gw: h.AsSlice()})
		}
	}
	if s.Op == Replace {
		return k.handle.RouteReplace(r)
	}
	return k.handle.RouteAdd(r)
}

func fromIP(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// fromIPNet takes nil, which netlink has for a default route.
func fromIPNet(family int, n *net.IPNet) netip.Prefix {
	if n == nil {
		if family == unix.AF_INET6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(fromIP(n.IP), bits)
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
