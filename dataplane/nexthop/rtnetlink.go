package nexthop

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane/overlay"
)

// path is how this node reaches a backend. The zero path is no route.
type path struct {
	routed bool
	// local backends are on this node; they have no neighbour.
	local bool
	// via is the gateway, or the backend itself where it is on-link.
	via neighbour
	// source is this node's address towards the backend. Behind an overlay
	// device it is the one that the outer packets have, because answers to it
	// come back on the node network, where programs see them: answers to the
	// overlay device's own address would come inside the overlay.
	source netip.Addr
	// kind is the rtnetlink kind of the device, onLink says that there is no
	// gateway.
	kind   string
	onLink bool
}

// kernel asks the kernel of the network namespace in which it was made.
type kernel struct {
	handle  *netlink.Handle
	devices map[int]device
}

// device is what is known of a device that was looked at.
type device struct {
	kind string
	// below is the own address of an overlay device's outer packets; zero for
	// other devices, and for overlays that have no fixed one.
	below netip.Addr
}

func newKernel() (kernel, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return kernel{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	return kernel{handle: handle, devices: map[int]device{}}, nil
}

// route looks the path to a backend up. No route is no error.
func (k kernel) route(backend netip.Addr) (path, error) {
	routes, err := k.handle.RouteGet(backend.AsSlice())
	if noRoute(err) || err == nil && len(routes) == 0 {
		return path{}, nil
	}
	if err != nil {
		return path{}, fmt.Errorf("look up route to %s: %w", backend, err)
	}
	r := routes[0]
	p := path{routed: true, local: r.Type == unix.RTN_LOCAL, via: neighbour{r.LinkIndex, backend}, onLink: true}
	if gateway, ok := netip.AddrFromSlice(r.Gw); ok {
		p.via.address, p.onLink = gateway.Unmap(), false
	}
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		p.source = source.Unmap()
	}
	d := k.device(r.LinkIndex)
	if p.kind = d.kind; d.below.IsValid() {
		p.source = d.below
	}
	return p, nil
}

// device looks a device up, once.
func (k kernel) device(index int) device {
	if d, known := k.devices[index]; known {
		return d
	}
	var d device
	if l, err := k.handle.LinkByIndex(index); err == nil {
		d = device{l.Type(), overlay.Local(l)}
	}
	k.devices[index] = d
	return d
}

// forgetDevices makes the kernel be asked anew what its devices are.
func (k kernel) forgetDevices() { clear(k.devices) }

// noRoute has what the kernel answers for no route and for routes of type
// unreachable, prohibit and blackhole.
func noRoute(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// neighbours lists all IPv4 neighbours.
func (k kernel) neighbours() (map[neighbour]entry, error) {
	list, err := k.handle.NeighList(0, unix.AF_INET)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	all := make(map[neighbour]entry, len(list))
	for _, n := range list {
		address, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		e := entry{nud: nud(n.State)}
		copy(e.mac[:], n.HardwareAddr)
		all[neighbour{n.LinkIndex, address.Unmap()}] = e
	}
	return all, nil
}

// poke makes the kernel resolve a neighbour as if a packet were sent to it,
// without one (NTF_USE). The entry is an ordinary one: it ages, and nothing of
// ours stays in the kernel. NTF_EXT_MANAGED entries would be kept by the
// kernel itself, but also when this process is gone.
//
// NTF_USE takes NUD_PERMANENT off an entry (Linux 5.16 and later), and flanneld's
// would then fail for good. So one that was not listed is only made, and one that
// somebody else has made meanwhile stays as it is.
func (k kernel) poke(n neighbour, exists bool) error {
	write := k.handle.NeighAdd
	if exists {
		write = k.handle.NeighSet
	}
	err := write(&netlink.Neigh{
		LinkIndex: n.index, Family: unix.AF_INET, Flags: netlink.NTF_USE, IP: n.address.AsSlice(),
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("resolve neighbour %s: %w", n.address, err)
	}
	return nil
}
