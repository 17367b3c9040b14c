package doctor

import (
	"maps"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// reversePath looks at overlay devices: requests for pods come in there, with a
// source that lies behind another interface.
func reversePath(c *check, f Facts) {
	overlays := 0
	for _, i := range f.Interfaces {
		if i.Overlay == nil || !i.Up {
			continue
		}
		overlays++
		if i.Overlay.Strict {
			c.fail("run weir without --loose-rp-filter=false, or sysctl -w net/ipv4/conf/"+i.Name+"/rp_filter=2",
				"%s filters reverse paths strictly (own %d, all %d): requests that come for pods behind it are lost", i.Name, i.Overlay.Own, i.Overlay.All)
		}
	}
	if overlays == 0 {
		c.otherwise("there is no overlay interface")
	}
	c.otherwise("no overlay interface filters reverse paths strictly")
}

// mtu compares each overlay with what is below it.
func mtu(c *check, f Facts) {
	hooked := f.hooked()
	for _, i := range f.Interfaces {
		o := i.Overlay
		if o == nil || !i.Up {
			continue
		}
		if o.BelowMTU > 0 && i.MTU > o.BelowMTU-o.Overhead {
			c.fail("set its MTU to at most the lower one less the headers, in the container network's configuration",
				"%s has an MTU of %d, but %s below it carries %d with headers of %d: outer packets are cut or lost", i.Name, i.MTU, o.Below, o.BelowMTU, o.Overhead)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(hooked)) {
			if h := hooked[name]; h.MTU > i.MTU {
				c.note("%s takes packets up to %d, %s carries %d: longer ones for pods behind it are refused, not cut", h.Name, h.MTU, i.Name, i.MTU)
			}
		}
	}
	c.otherwise("every overlay fits into what is below it")
}

// vips finds service addresses that are addresses of the node: the kernel takes
// their packets for its own, so that answers of pods never leave, and requests
// from the load balancer are martians.
func vips(c *check, f Facts) {
	all := f.vips()
	for _, vip := range all {
		for _, l := range f.Local {
			if l.Prefix.Contains(vip) {
				c.fail("take it off (ip addr del "+vip.String()+"/32 dev "+l.Interface+"); kube-proxy in IPVS mode binds it to kube-ipvs0: ipMode Proxy in the service's status, or another mode, prevents that",
					"service address %s is bound to %s of this node: its packets end here and clients get no answer", vip, l.Interface)
			}
		}
	}
	if len(all) == 0 {
		c.otherwise("no service address is known here")
	}
	c.otherwise("none of %d service addresses is bound to an interface of this node", len(all))
}

// vips are the service addresses that weir balances or has learned.
func (f Facts) vips() []netip.Addr {
	all := slices.Clone(f.Learned)
	if f.Observed != nil {
		for _, s := range f.Observed.Services {
			all = append(all, s.VIP)
		}
		all = append(all, advertised(f.Observed.BGP)...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// advertised are the single addresses that the speaker announces or has learned,
// with a route to them or without.
func advertised(b *v1.BGPStatus) []netip.Addr {
	if b == nil {
		return nil
	}
	all := slices.Clone(b.Bound)
	for _, a := range b.Advertisements {
		if a.Prefix.IsSingleIP() {
			all = append(all, a.Prefix.Addr())
		}
	}
	for _, r := range b.Routes {
		if r.Prefix.IsSingleIP() {
			all = append(all, r.Prefix.Addr())
		}
	}
	return all
}
