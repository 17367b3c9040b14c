package decide

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// assign gives addresses to the services and returns who holds what now.
//
// A service that was refused takes no new address, but keeps the one that it
// has: its owner will mend it. So does a service that may be missing only
// because the snapshot is incomplete.
func assign(services []*service, incomplete bool, nodes map[netip.Addr]string, cfg controller.Config, last controller.Memory) map[string]ipam.Hold {
	var unsure []ipam.Request
	requests := make([]ipam.Request, 0, len(services))
	asking := make(map[string]*service, len(services))
	present := make(map[string]bool, len(services))
	for _, s := range services {
		present[s.key] = true
		hold := last.Addresses[s.key]
		switch {
		case s.refusal != nil && len(hold.Ports) > 0:
			requests = appendKeep(requests, s.key, heldOf(s, hold))
			continue
		case s.refusal != nil && len(s.told.Ports) > 0:
			requests = append(requests, byStatus(s, appendKeep(nil, s.key, s.told))...)
			continue
		case s.refusal != nil:
			// Its ports may be by now those of a service that has them.
			unsure = append(unsure, byStatus(s, appendKeep(nil, s.key, heldOf(s, hold)))...)
			continue
		}
		asking[s.key] = s
		requests = append(requests, ipam.Request{
			Owner: s.key, Ports: s.ipamPorts(), Pool: s.pool, Wants: s.wants, Together: s.together, Held: hold, Status: s.told,
		})
	}
	if incomplete {
		for _, key := range slices.Sorted(maps.Keys(last.Addresses)) {
			if !present[key] {
				requests = appendKeep(requests, key, last.Addresses[key])
			}
		}
	}
	requests = append(requests, unsure...)
	held := make(map[string]ipam.Hold, len(requests))
	for i, a := range ipam.Assign(cfg.Pools, requests, ipam.Options{Exclusive: cfg.UniqueIP, Nodes: nodes}) {
		s := asking[a.Owner]
		if s != nil {
			s.given = a.Given
		}
		hold := ipam.Hold{Ports: requests[i].Ports, Kept: s == nil}
		for _, g := range a.Given {
			hold.Set(g.Address)
		}
		if len(hold.List()) > 0 {
			held[a.Owner] = hold
		}
	}
	return held
}

// moved tells of the addresses that took the place of others: clients, and DNS
// that is written by hand, have to be led there.
func moved(services []*service) map[string]string {
	out := map[string]string{}
	for _, s := range services {
		for _, g := range s.given {
			if g.Left == nil {
				continue
			}
			if out[s.key] != "" {
				out[s.key] += "; "
			}
			out[s.key] += fmt.Sprintf("%s now: %s", g.Address, g.Left)
		}
	}
	return out
}

// nodeAddresses are all by which the nodes are reached, with the nodes' names.
func nodeAddresses(nodes []*corev1.Node) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			ip, err := netip.ParseAddr(a.Address)
			if err != nil || (a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP) {
				continue
			}
			if other := out[ip.Unmap()]; other == "" || n.Name < other { // so that the same one is always named
				out[ip.Unmap()] = n.Name
			}
		}
	}
	return out
}

// markKept marks what refused services hold, also those that were refused for
// their endpoints.
func markKept(services []*service, held map[string]ipam.Hold) {
	for _, s := range services {
		if hold, ok := held[s.key]; ok && s.refusal != nil {
			hold.Kept = true
			held[s.key] = hold
		}
	}
}

// heldOf is what a refused service holds: that of the last decision, and what of
// it is not known as the status says.
func heldOf(s *service, last ipam.Hold) ipam.Hold {
	hold := ipam.Hold{Addresses: s.told.Addresses, Ports: last.Ports}
	for _, a := range last.List() {
		hold.Set(a)
	}
	if len(hold.Ports) > 0 {
		return hold
	}
	for _, o := range s.obj.Spec.Ports {
		protocol, bad := readProtocol("", o.Protocol)
		p := ipam.Port{Number: uint16(o.Port), Protocol: protocol}
		if bad == nil && o.Port > 0 && o.Port <= 65535 && !slices.Contains(hold.Ports, p) {
			hold.Ports = append(hold.Ports, p)
		}
	}
	return hold
}

// appendKeep asks for what the owner holds and for nothing else.
func appendKeep(requests []ipam.Request, owner string, hold ipam.Hold) []ipam.Request {
	if len(hold.List()) == 0 || len(hold.Ports) == 0 {
		return requests
	}
	r := ipam.Request{Owner: owner, Ports: hold.Ports, Held: hold}
	for _, a := range hold.List() {
		r.Wants = append(r.Wants, ipam.Want{IPv6: a.Is6(), Address: a})
	}
	return append(requests, r)
}

// byStatus has a service's requests ask for what they hold as those do of which
// nothing but the status is known.
func byStatus(s *service, requests []ipam.Request) []ipam.Request {
	for i, r := range requests {
		requests[i].Held, requests[i].Status = ipam.Hold{}, ipam.Hold{Addresses: r.Held.Addresses, Ports: s.told.Ports}
	}
	return requests
}

// usage reports the pools with the number of addresses that are held, or are
// nodes', one of both families once for each.
func usage(pools []ipam.Pool, held map[string]ipam.Hold, nodes map[netip.Addr]string) []v1.ControllerPool {
	used := make(map[netip.Addr]bool)
	for a := range nodes {
		used[a] = true
	}
	for _, h := range held {
		for _, a := range h.List() {
			used[a] = true
		}
	}
	var out []v1.ControllerPool
	for _, pool := range pools {
		for _, ipv6 := range []bool{false, true} {
			if p := pool.Family(ipv6); len(p.Ranges) > 0 {
				out = append(out, usageOf(p, ipv6, used))
			}
		}
	}
	return out
}

func usageOf(p ipam.Pool, ipv6 bool, used map[netip.Addr]bool) v1.ControllerPool {
	out := v1.ControllerPool{Name: p.Name, Family: ipam.FamilyName(ipv6), Size: p.Size()}
	for _, r := range p.Ranges {
		out.Ranges = append(out.Ranges, r.String())
	}
	for a := range used {
		if p.Contains(a) {
			out.Used++
		}
	}
	return out
}
