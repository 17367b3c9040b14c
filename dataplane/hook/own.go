package hook

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Addresses returns those of the interfaces where packets are taken: what comes for
// one of them may be the node's own. Dummies are left out, to which kube-proxy in IPVS
// mode binds service addresses. The map does not change.
func (h *Hooks) Addresses() map[netip.Addr]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.own
}

// noteOwn takes over which addresses the hooked interfaces have. The caller holds
// the lock.
func (h *Hooks) noteOwn(links []netlink.Link, addresses map[int][]netip.Addr) {
	own := map[netip.Addr]bool{}
	for _, l := range links {
		index := l.Attrs().Index
		if l.Type() == "dummy" || h.hooked[index].attachment.tc == nil {
			continue
		}
		for _, a := range addresses[index] {
			own[a] = true
		}
	}
	if !maps.Equal(own, h.own) {
		h.own = own
		h.tell()
	}
}

// addressesByLink returns the IPv4 addresses of each interface, in the kernel's order.
func addressesByLink() (map[int][]netip.Addr, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	all := map[int][]netip.Addr{}
	for _, a := range list {
		if address, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			all[a.LinkIndex] = append(all[a.LinkIndex], address)
		}
	}
	return all, nil
}
