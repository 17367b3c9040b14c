package dataplane

import (
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/health"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/plan"
)

// targets returns the backends of all services that ask for probes.
func targets(services []v1.Service) []health.Target {
	var all []health.Target
	for _, s := range services {
		if !s.Monitor {
			continue
		}
		for _, b := range s.Backends {
			if b.Address.Is4() {
				all = append(all, health.NewTarget(s, b))
			}
		}
	}
	return all
}

// inactive returns the backends that are down, of services that ask for probes.
func inactive(services []v1.Service, report map[health.Target]health.Status) map[plan.Endpoint]bool {
	set := map[plan.Endpoint]bool{}
	for _, s := range services {
		if !s.Monitor {
			continue
		}
		for _, b := range s.Backends {
			if b.Address.Is4() && report[health.NewTarget(s, b)].Down {
				set[endpoint(s, b)] = true
			}
		}
	}
	return set
}

func endpoint(s v1.Service, b v1.Backend) plan.Endpoint {
	return plan.Endpoint{Frontend: s.Frontend, Address: netip.AddrPortFrom(b.Address, b.Port)}
}

// taken says that what the target sends to this node's port is a flow's: mode
// onearm uses this node's address in place of clients'. In the other modes
// answers go elsewhere, so that they cannot be a probe's.
func (d *Dataplane) taken(t health.Target, port uint16) bool {
	addresses := d.nodeAddresses.Load()
	if addresses == nil {
		return false
	}
	node := (*addresses)[t.Address.Addr()]
	if !node.Is4() {
		return false
	}
	key := bpf.FlowKey{
		Saddr: bpf.Addr(t.Address.Addr()), Sport: bpf.Port(t.Address.Port()),
		Daddr: bpf.Addr(node), Dport: bpf.Port(port), Proto: t.Protocol().Number(),
	}
	for _, table := range []maps.FlowTable{maps.HalfOpen, maps.Established} {
		if _, found, err := d.maps.Flow(table, key); err == nil && found {
			return true
		}
	}
	return false
}
