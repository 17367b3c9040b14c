package link

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/topo/netns"
)

// Route is an entry for AddRoute. Via or Dev is given.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
	Dev string
	// Src is optional: the source that the kernel prefers.
	Src netip.Addr
	// OnLink takes Via as a neighbour on Dev.
	OnLink bool
}

// AddRoute adds r to the main table, or replaces what leads there.
func AddRoute(ns *netns.NetNS, r Route) error {
	return with(ns, func(h *netlink.Handle) error {
		nr := &netlink.Route{Dst: ipNet(r.To.Masked())}
		if r.Dev != "" {
			l, err := h.LinkByName(r.Dev)
			if err != nil {
				return fmt.Errorf("add route to %s in %s: interface %s: %w", r.To, ns.Name(), r.Dev, err)
			}
			nr.LinkIndex = l.Attrs().Index
		}
		if r.Via.IsValid() {
			nr.Gw = r.Via.AsSlice()
		} else {
			nr.Scope = netlink.SCOPE_LINK
		}
		if r.Src.IsValid() {
			nr.Src = r.Src.AsSlice()
		}
		if r.OnLink {
			nr.SetFlag(netlink.FLAG_ONLINK)
		}
		if err := h.RouteReplace(nr); err != nil {
			return fmt.Errorf("add route to %s in %s: %w", r.To, ns.Name(), err)
		}
		return nil
	})
}
