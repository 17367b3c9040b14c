package collect

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/dataplane/overlay"
	"github.com/weir-lb/weir/doctor"
)

// devices lists all interfaces but the loopback, and what could not be seen.
func devices() ([]doctor.Interface, []string, error) {
	links, err := netlink.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces: %w", err)
	}
	var all []doctor.Interface
	unseen := map[string]bool{}
	for _, l := range links {
		attrs := l.Attrs()
		if attrs.Flags&net.FlagLoopback != 0 {
			continue
		}
		i := doctor.Interface{
			Name: attrs.Name, Kind: kindOf(l), Up: attrs.Flags&net.FlagUp != 0, MTU: attrs.MTU,
			Merges: merges(attrs.Name),
		}
		if i.Programs, err = programs(l); err != nil {
			unseen[err.Error()] = true
		}
		if overlay.Is(l) {
			i.Overlay = tunnel(l, links)
		}
		all = append(all, i)
	}
	return all, slices.Sorted(maps.Keys(unseen)), nil
}

func kindOf(l netlink.Link) string {
	if l.Type() != "device" {
		return l.Type()
	}
	return driverOf(l.Attrs().Name)
}

// tunnel is what there is below an overlay device.
func tunnel(l netlink.Link, links []netlink.Link) *doctor.Overlay {
	o := &doctor.Overlay{Overhead: overlay.Overhead(l.Type())}
	if f, err := overlay.ReadFilter(l.Attrs().Name); err == nil {
		o.Strict, o.Own, o.All = f.Strict(), f.Own, f.All
	}
	if below := belowOf(l, links); below != nil {
		o.Below, o.BelowMTU = below.Attrs().Name, below.Attrs().MTU
	}
	return o
}

// belowOf is the interface that outer packets leave by: the one that the device
// is bound to, else the one that has its outer address. Nil where it has none.
func belowOf(l netlink.Link, links []netlink.Link) netlink.Link {
	bound := l.Attrs().ParentIndex
	if v, ok := l.(*netlink.Vxlan); ok && v.VtepDevIndex != 0 {
		bound = v.VtepDevIndex
	}
	local := overlay.Local(l)
	for _, other := range links {
		if other.Attrs().Index == bound || local.IsValid() && has(other, local) {
			return other
		}
	}
	return nil
}

func has(l netlink.Link, a netip.Addr) bool {
	addresses, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, have := range addresses {
		if have.IP.Equal(a.AsSlice()) {
			return true
		}
	}
	return false
}
