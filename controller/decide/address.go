package decide

import (
	"maps"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// assign gives addresses to the services and returns who holds what now.
//
// A service that was refused takes no new address, but keeps the one that it
// has: its owner will mend it. So does a service that may be missing only
// because the snapshot is incomplete.
func assign(services []*service, incomplete bool, cfg controller.Config, last controller.Memory) map[string]ipam.Hold {
	var requests []ipam.Request
	asking := map[string]*service{}
	present := map[string]bool{}
	for _, s := range services {
		present[s.key] = true
		hold := last.Addresses[s.key]
		if s.refusal != nil {
			requests = appendKeep(requests, s.key, heldOf(s, hold))
			continue
		}
		asking[s.key] = s
		requests = append(requests, ipam.Request{
			Owner: s.key, Ports: s.ipamPorts(), Pool: s.pool, Address: s.wanted, Held: hold, Status: s.status,
		})
	}
	if incomplete {
		for _, key := range slices.Sorted(maps.Keys(last.Addresses)) {
			if !present[key] {
				requests = appendKeep(requests, key, last.Addresses[key])
			}
		}
	}
	held := make(map[string]ipam.Hold)
	for i, a := range ipam.Assign(cfg.Pools, requests, ipam.Options{Exclusive: cfg.UniqueIP}) {
		if s := asking[a.Owner]; s != nil {
			s.address, s.addressPool, s.addressErr = a.Address, a.Pool, a.Err
		}
		if a.Err == nil {
			held[a.Owner] = ipam.Hold{Address: a.Address, Ports: requests[i].Ports, Kept: asking[a.Owner] == nil}
		}
	}
	return held
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

// heldOf is what a refused service holds: that of the last decision, or where
// none is known what its status says.
func heldOf(s *service, last ipam.Hold) ipam.Hold {
	if last.Address.IsValid() {
		return last
	}
	hold := ipam.Hold{Address: s.status}
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
	if !hold.Address.IsValid() || len(hold.Ports) == 0 {
		return requests
	}
	return append(requests, ipam.Request{Owner: owner, Ports: hold.Ports, Held: hold, Address: hold.Address})
}

// usage reports the pools with the number of addresses that are held.
func usage(pools []ipam.Pool, held map[string]ipam.Hold) []v1.ControllerPool {
	used := make(map[netip.Addr]bool)
	for _, h := range held {
		used[h.Address] = true
	}
	out := make([]v1.ControllerPool, len(pools))
	for i, p := range pools {
		out[i] = v1.ControllerPool{Name: p.Name, Size: p.Size()}
		for _, r := range p.Ranges {
			out[i].Ranges = append(out[i].Ranges, r.String())
		}
		for a := range used {
			if p.Contains(a) {
				out[i].Used++
			}
		}
	}
	return out
}
