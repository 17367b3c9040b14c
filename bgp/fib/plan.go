// Package fib brings learned BGP routes into the kernel's forwarding table
// (main table, `proto bgp`) and keeps them there.
//
// What to do is decided by pure functions on values (plan.go); kernel.go does
// it over netlink; Table ties both together and remembers failures. The
// package handles IPv4; IPv6 is another entry in kernel.go's families.
package fib

import (
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/bgp"
)

// Metrics of the routes that weir installs. A service address gets 0, which
// `ip route` does not print: nothing else may route it on this node, and
// people know the line from LoxiLB without a metric. Any other prefix gets 30,
// behind what the kernel and the CNI install with 0, so that a peer which
// announces the pod network does not divert it, and not the 20 of zebra: its
// routes are of protocol bgp too, so that the metric alone tells whose they are
// where FRR runs beside weir.
const (
	MetricVIP   = 0
	MetricOther = 30
)

// Route is one route in the kernel. NextHops are sorted.
type Route struct {
	Prefix   netip.Prefix
	Metric   int
	NextHops []netip.Addr
}

// Key is what the kernel holds unique: it replaces a route by another of the
// same key, whatever protocol that came from.
type Key struct {
	Prefix netip.Prefix
	Metric int
}

func (r Route) key() Key { return Key{r.Prefix, r.Metric} }

// Observed is what stands in the kernel.
type Observed struct {
	// Own are the routes with protocol bgp and one of our metrics: those that
	// may be ours (Ledger).
	Own []Route
	// Foreign maps all other routes to the name of their protocol.
	Foreign map[Key]string
	// Connected are prefixes whose addresses are on a link of this node: a
	// next hop has to be in one of them.
	Connected []netip.Prefix
	// Subnets are those that the kernel connected by itself, for an address of
	// this node.
	Subnets []netip.Prefix
	// Local are the addresses of this node.
	Local []netip.Addr
}

// Wanted says what the table should be.
type Wanted struct {
	// Routes as the speaker learned them.
	Routes []bgp.Route
	// VIPs are the prefixes that service addresses come from.
	VIPs []netip.Prefix
	// Originated are prefixes that this node announces itself.
	Originated []netip.Prefix
}

// Desired returns the routes that belong into the kernel, were every next hop
// reachable, sorted by prefix. It leaves out what would send traffic for this
// node away from it: its own addresses, what it originates, and next hops
// that are itself.
func Desired(w Wanted, local []netip.Addr) []Route {
	var out []Route
	for _, r := range w.Routes {
		if r.Prefix.IsSingleIP() && slices.Contains(local, r.Prefix.Addr()) || slices.Contains(w.Originated, r.Prefix) {
			continue
		}
		hops := slices.DeleteFunc(slices.Clone(r.NextHops), func(a netip.Addr) bool { return slices.Contains(local, a) })
		if len(hops) == 0 {
			continue
		}
		route := Route{Prefix: r.Prefix, Metric: MetricOther}
		if within(r.Prefix, w.VIPs) {
			// Never ECMP: an answer that leaves by another LB node than the
			// one that translated the request finds no flow there.
			route.Metric, hops = MetricVIP, hops[:1]
		}
		slices.SortFunc(hops, netip.Addr.Compare)
		route.NextHops = hops
		out = append(out, route)
	}
	slices.SortFunc(out, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
	return out
}

// Bound names the service addresses that are addresses of this node: Desired
// leaves their routes out, and their packets end here.
func Bound(w Wanted, local []netip.Addr) []Problem {
	var out []Problem
	for _, r := range w.Routes {
		if r.Prefix.IsSingleIP() && slices.Contains(local, r.Prefix.Addr()) && within(r.Prefix, w.VIPs) {
			out = append(out, bound(r.Prefix))
		}
	}
	return out
}

func within(p netip.Prefix, set []netip.Prefix) bool {
	return slices.ContainsFunc(set, func(s netip.Prefix) bool {
		return s.Bits() <= p.Bits() && s.Contains(p.Addr())
	})
}

// Op is what a Step does.
type Op string

// The steps. Add fails if any route has the key; Replace is for our own.
const (
	Add     Op = "add"
	Replace Op = "replace"
	Delete  Op = "delete"
)

// Step is one change of the kernel's table.
type Step struct {
	Op    Op
	Route Route
}

// Problem is a prefix that is not as it should be.
type Problem struct {
	Prefix netip.Prefix
	Reason Reason
	// Message is one line that says what to do.
	Message string
}

// Reason is CamelCase, for programs.
type Reason string

// The reasons of a Problem.
const (
	NextHopUnreachable Reason = "NextHopUnreachable" // No link of this node leads to the next hop of a route; mend the node's routes, or what the peer announces.
	ForeignRoute       Reason = "ForeignRoute"       // A route of somebody else stands already; remove it to follow BGP.
	KernelRefused      Reason = "KernelRefused"      // The kernel refused a route, which is tried again; the message says why.
	RouteNotNoted      Reason = "RouteNotNoted"      // The next run would take a route of weir for somebody else's; make room in --state-dir.
	InsideSubnet       Reason = "InsideSubnet"       // A route would divert a part of a subnet of this node; bound what the peer may announce (--extBGPAccept).
	AddressBound       Reason = "AddressBound"       // A service address is bound to an interface of this node; take it off, weirctl doctor says where it is.
)

// Plan returns the steps from observed to desired. Deletions come last, so
// that a prefix which changes its metric is never without a route.
//
// Routes of inherited prefixes are left exactly as they stand: an earlier run
// installed them, traffic follows them, and the sessions have not told yet
// what is true now.
func Plan(desired []Route, observed Observed, inherited map[netip.Prefix]bool) ([]Step, []Problem) {
	own := make(map[Key]Route, len(observed.Own))
	frozen := make(map[netip.Prefix]bool)
	for _, r := range observed.Own {
		own[r.key()] = r
		frozen[r.Prefix] = inherited[r.Prefix]
	}
	var steps []Step
	var problems []Problem
	keep := make(map[Key]bool, len(desired))
	for _, r := range desired {
		if frozen[r.Prefix] {
			continue
		}
		if r.Metric != MetricVIP {
			if subnet, inside := diverts(r.Prefix, observed.Subnets); inside {
				problems = append(problems, insideSubnet(r.Prefix, subnet))
				continue
			}
		}
		hops, problem := reachable(r, observed.Connected)
		if problem != nil {
			problems = append(problems, *problem)
		}
		if len(hops) == 0 {
			continue
		}
		r.NextHops = hops
		if protocol, taken := observed.Foreign[r.key()]; taken {
			problems = append(problems, foreign(r, protocol))
			continue
		}
		keep[r.key()] = true
		old, exists := own[r.key()]
		switch {
		case !exists:
			steps = append(steps, Step{Add, r})
		case !slices.Equal(old.NextHops, r.NextHops):
			steps = append(steps, Step{Replace, r})
		}
	}
	for _, r := range observed.Own {
		if !keep[r.key()] && !frozen[r.Prefix] {
			steps = append(steps, Step{Delete, r})
		}
	}
	return steps, problems
}

// diverts returns the subnet of this node that p is a part of: neighbours on
// the link would be looked for elsewhere.
func diverts(p netip.Prefix, subnets []netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(subnets, func(s netip.Prefix) bool { return s.Bits() < p.Bits() && s.Contains(p.Addr()) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return subnets[i], true
}

// reachable returns the next hops of r that are on a link, and a problem if
// some are not. The kernel would refuse the whole route for one of them.
func reachable(r Route, connected []netip.Prefix) ([]netip.Addr, *Problem) {
	var hops, missing []netip.Addr
	for _, h := range r.NextHops {
		if slices.ContainsFunc(connected, func(p netip.Prefix) bool { return p.Contains(h) }) {
			hops = append(hops, h)
		} else {
			missing = append(missing, h)
		}
	}
	if len(missing) == 0 {
		return hops, nil
	}
	return hops, &Problem{r.Prefix, NextHopUnreachable, unreachableMessage(r.Prefix, missing)}
}
