package uplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Protocol is what the kernel knows our routes by (`ip route show proto 119`).
// /etc/iproute2/rt_protos names no such number.
const Protocol netlink.RouteProtocol = 119

// entry is a route of ours as the kernel has it. neighbour is false when its
// permanent neighbour is missing, or has another MAC than the device.
type entry struct {
	device    int
	source    netip.Addr
	neighbour bool
}

// kernel asks the kernel of the network namespace in which it was made.
type kernel struct{ handle *netlink.Handle }

func newKernel() (kernel, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return kernel{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	return kernel{handle}, nil
}

// routes lists the routes of ours.
func (k kernel) routes() (map[netip.Addr]entry, error) {
	list, err := k.handle.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	if len(list) == 0 {
		return map[netip.Addr]entry{}, nil
	}
	permanent, err := k.permanent()
	if err != nil {
		return nil, err
	}
	all := make(map[netip.Addr]entry, len(list))
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		vip, _ := netip.AddrFromSlice(r.Dst.IP)
		source, _ := netip.AddrFromSlice(r.Src)
		vip = vip.Unmap()
		all[vip] = entry{r.LinkIndex, source.Unmap(), permanent[neighbour{r.LinkIndex, vip}]}
	}
	return all, nil
}

type neighbour struct {
	device  int
	address netip.Addr
}

// permanent lists the permanent neighbours that have the MAC of their own device.
func (k kernel) permanent() (map[neighbour]bool, error) {
	list, err := k.handle.NeighList(0, unix.AF_INET)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	macs := map[int]string{}
	all := map[neighbour]bool{}
	for _, n := range list {
		address, ok := netip.AddrFromSlice(n.IP)
		if !ok || n.State&netlink.NUD_PERMANENT == 0 {
			continue
		}
		if _, known := macs[n.LinkIndex]; !known {
			macs[n.LinkIndex] = ""
			if l, err := k.handle.LinkByIndex(n.LinkIndex); err == nil {
				macs[n.LinkIndex] = l.Attrs().HardwareAddr.String()
			}
		}
		all[neighbour{n.LinkIndex, address.Unmap()}] = n.HardwareAddr.String() == macs[n.LinkIndex]
	}
	return all, nil
}

// put makes the neighbour, then the route: a packet never asks ARP. The
// neighbour's MAC is the device's own, so that a frame that nothing has taken
// goes nowhere. A route of somebody else is an error.
func (k kernel) put(vip netip.Addr, r Route) error {
	err := k.handle.NeighSet(&netlink.Neigh{
		LinkIndex: r.Port.Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
		IP: vip.AsSlice(), HardwareAddr: r.Port.MAC[:],
	})
	if err != nil {
		return fmt.Errorf("add neighbour %s on %s: %w", vip, r.Port.Name, err)
	}
	err = k.handle.RouteAdd(&netlink.Route{
		Dst: host(vip), LinkIndex: r.Port.Index, Src: r.Source.AsSlice(), Scope: netlink.SCOPE_LINK, Protocol: Protocol,
	})
	if err != nil {
		_ = k.handle.NeighDel(&netlink.Neigh{LinkIndex: r.Port.Index, Family: unix.AF_INET, IP: vip.AsSlice()})
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add route %s dev %s: somebody else has one to it (ip route show %s); remove that", vip, r.Port.Name, vip)
	}
	if err != nil {
		return fmt.Errorf("add route %s dev %s src %s: %w", vip, r.Port.Name, r.Source, err)
	}
	return nil
}

// remove deletes a route of ours and its neighbour; what is absent is success.
func (k kernel) remove(vip netip.Addr, device int) error {
	err := k.handle.RouteDel(&netlink.Route{Dst: host(vip), LinkIndex: device, Scope: netlink.SCOPE_LINK, Protocol: Protocol})
	if err != nil && !gone(err) {
		return fmt.Errorf("delete route %s: %w", vip, err)
	}
	err = k.handle.NeighDel(&netlink.Neigh{LinkIndex: device, Family: unix.AF_INET, IP: vip.AsSlice()})
	if err != nil && !gone(err) {
		return fmt.Errorf("delete neighbour %s: %w", vip, err)
	}
	return nil
}

// ports lists the interfaces that are up and wanted, by index, with their
// addresses.
func (k kernel) ports(wanted func(index int) bool) ([]Port, error) {
	links, err := k.handle.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addresses, err := k.handle.AddrList(nil, unix.AF_INET)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var ports []Port
	for _, l := range links {
		attrs := l.Attrs()
		if attrs.Flags&net.FlagUp == 0 || !wanted(attrs.Index) {
			continue
		}
		p := Port{Index: attrs.Index, Name: attrs.Name}
		copy(p.MAC[:], attrs.HardwareAddr)
		for _, a := range addresses {
			if ip, ok := netip.AddrFromSlice(a.IP); ok && a.LinkIndex == p.Index {
				p.Addresses = append(p.Addresses, ip.Unmap())
			}
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// gone says that the route, the neighbour or the interface does not exist.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
