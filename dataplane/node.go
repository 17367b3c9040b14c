package dataplane

import (
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/nexthop"
	"github.com/weir-lb/weir/dataplane/uplink"
)

// onNode says that a backend is on this node: it has an address of the node, or
// is a pod behind a bridge or veth that is the container network's. served says
// that packets which come in by the way's device are seen; beyond such a device
// are other machines.
func onNode(w nexthop.Way, served bool) bool {
	switch {
	case w.Local:
		return true
	case served || !w.OnLink:
		return false
	}
	return w.Kind == "veth" || w.Kind == "bridge"
}

// locate finds this node's addresses, and the backends that are on it. The caller
// holds the lock.
func (d *Dataplane) locate() {
	local := map[netip.Addr]bool{}
	for backend, w := range d.paths.Ways {
		if onNode(w, d.hooks.Serves(w.Device)) {
			local[backend] = true
		}
	}
	d.desired.Own = d.hooks.Addresses()
	d.desired.Local, d.desired.Unserved = local, nil
	if d.uplinks == nil {
		d.desired.Unserved = local
	}
}

// route gives each VIP that a service has its route. The caller holds the lock.
func (d *Dataplane) route() {
	if d.uplinks == nil {
		return
	}
	vips := map[netip.Addr][]uplink.Way{}
	for _, vip := range d.state.VIPs() {
		vips[vip] = d.ways(vip)
	}
	d.routeless = d.uplinks.Watch(vips)
}

// ways are those to the backends of a VIP that are on other machines, by address.
func (d *Dataplane) ways(vip netip.Addr) []uplink.Way {
	var backends []netip.Addr
	for _, s := range d.desired.Services {
		if s.VIP != vip {
			continue
		}
		for _, b := range s.Backends {
			if !d.desired.Local[b.Address] {
				backends = append(backends, b.Address)
			}
		}
	}
	slices.SortFunc(backends, netip.Addr.Compare)
	var ways []uplink.Way
	for _, b := range slices.Compact(backends) {
		if w, routed := d.paths.Ways[b]; routed {
			ways = append(ways, uplink.Way{Device: w.Device, Source: d.paths.NodeAddresses[b]})
		}
	}
	return ways
}

// reroute takes over which VIPs have no route now.
func (d *Dataplane) reroute() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routeless = d.uplinks.Failed()
}

// Reasons of the condition NodeTraffic.
const (
	ReasonEgressHooks    = "EgressHooks"    // Holds: this node and its pods reach the VIP, and backends on it are used.
	ReasonEgressHooksOff = "EgressHooksOff" // Backends on this node are not used; start weir with --egr-hooks.
	ReasonNoUplink       = "NoUplink"       // This node and its pods do not reach the VIP, for it has no route to lead by; the message says which lacks.
)

// nodeTraffic tells whether what starts or ends on this node is served; false for
// a service that has nothing of it to say.
func (d *Dataplane) nodeTraffic(s v1.Service) (c v1.Condition, told bool) {
	c = v1.Condition{Type: v1.ConditionNodeTraffic}
	if d.uplinks == nil {
		here := addressesIn(s, d.desired.Unserved)
		c.Reason = ReasonEgressHooksOff
		c.Message = "backends on this node are not used, for their answers would leave untranslated: " + here + "; start weir with --egr-hooks"
		return c, here != ""
	}
	if err := d.routeless[s.VIP]; err != nil {
		c.Reason, c.Message = ReasonNoUplink, "this node and its pods do not reach the VIP: "+err.Error()
		return c, true
	}
	c.Status, c.Reason, c.Message = true, ReasonEgressHooks, "this node and its pods reach the VIP, and backends on it are used"
	return c, true
}
