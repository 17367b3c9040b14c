package plan

import (
	"maps"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// putVIPs writes the VIPs of all services that will be in the maps. Where the map is full
// retired ones give way: a service is worth more than what is left of one that has gone.
func (p *planner) putVIPs(roles []v1.Role, scan Scan) {
	byVIP := make(map[netip.Addr]v1.Role, len(roles))
	for _, r := range roles {
		byVIP[r.VIP] = r
	}
	stand := p.vips()
	entries, retired := len(p.state.vips), p.retiredVIPs(scan)
	for _, address := range stand {
		role, known := byVIP[address]
		want := vipFor(role, known)
		have, ok := p.state.vips[address]
		if !ok && entries < p.limits.VIPs {
			entries++
		} else if !ok && len(retired) > 0 {
			p.steps = append(p.steps, DeleteVIP{Address: retired[0]})
			p.ousted[retired[0]] = true
			retired = retired[1:]
		}
		if have != want || !ok {
			p.steps = append(p.steps, PutVIP{Address: address, VIP: want})
		}
	}
}

// retiredVIPs returns those that no service will stand on, first those that no flow is of.
func (p *planner) retiredVIPs(scan Scan) []netip.Addr {
	var vips []netip.Addr
	for address := range p.state.retiredVIPs {
		if !p.stoodOn[address] {
			vips = append(vips, address)
		}
	}
	slices.SortFunc(vips, func(a, b netip.Addr) int {
		if leftA, leftB := p.left(a, scan), p.left(b, scan); leftA != leftB {
			if leftA {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	return vips
}

// left says that no flow is of a retired VIP any more.
func (p *planner) left(address netip.Addr, scan Scan) bool {
	return scan.frees(p.state.retiredVIPs[address]) && !scan.VIPs[address]
}

// vips returns the addresses that a service will stand on, in order. One
// whose service was refused stands as before.
func (p *planner) vips() []netip.Addr {
	for f := range p.state.services {
		if p.wanted[f] {
			p.stoodOn[f.VIP] = true
		}
	}
	return slices.SortedFunc(maps.Keys(p.stoodOn), netip.Addr.Compare)
}

// retireVIPs marks those that no service will stand on.
func (p *planner) retireVIPs() {
	kept := p.vips()
	for _, address := range p.state.VIPs() {
		if _, stays := slices.BinarySearchFunc(kept, address, netip.Addr.Compare); !stays {
			p.steps = append(p.steps, PutVIP{Address: address, VIP: VIP{Retired: true}})
		}
	}
}

// releaseVIPs takes out those that no flow is of either.
func (p *planner) releaseVIPs(scan Scan) {
	for _, address := range p.retiredVIPs(scan) {
		if p.left(address, scan) && !p.ousted[address] {
			p.steps = append(p.steps, DeleteVIP{Address: address})
		}
	}
}
