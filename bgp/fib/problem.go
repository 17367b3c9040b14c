package fib

import (
	"fmt"
	"net/netip"
	"strings"
)

func unreachableMessage(prefix netip.Prefix, hops []netip.Addr) string {
	names := make([]string, len(hops))
	for i, h := range hops {
		names[i] = h.String()
	}
	return fmt.Sprintf("route %s via %s: no link of this node is in the network of the next hop; check its links and addresses, or set next-hop-self on the peer",
		prefix, strings.Join(names, ", "))
}

func foreign(r Route, protocol string) Problem {
	return Problem{r.Prefix, ForeignRoute, fmt.Sprintf(
		"route %s: a route of protocol %s with metric %d stands already and is left alone; remove it to follow BGP",
		r.Prefix, protocol, r.Metric)}
}

func insideSubnet(prefix, subnet netip.Prefix) Problem {
	return Problem{prefix, InsideSubnet, fmt.Sprintf(
		"route %s: it would divert a part of %s, which is on a link of this node; have the peer not announce it, or bound what it may (kube-weir --extBGPAccept)",
		prefix, subnet)}
}

func bound(p netip.Prefix) Problem {
	return Problem{p, AddressBound, fmt.Sprintf(
		"route %s: the service address is bound to an interface of this node, where its packets end; take it off, weirctl doctor says where it is", p)}
}

func refused(s Step, err error) Problem {
	return Problem{s.Route.Prefix, KernelRefused, fmt.Sprintf(
		"%s route %s via %v: %v; it is tried again", s.Op, s.Route.Prefix, s.Route.NextHops, err)}
}

func unnoted(prefix netip.Prefix, err error) Problem {
	return Problem{prefix, RouteNotNoted, fmt.Sprintf(
		"%v; the next run would take this node's routes for somebody else's: make room in --state-dir", err)}
}
