// Package link makes and changes network interfaces in namespaces: veth
// pairs, bridges and VXLAN devices, addresses, routes, offloads, sysctls.
// Every call works on the namespace it is given and leaves the caller's
// alone. Calls on different namespaces may run at the same time.
package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/netns"
)

// End is one end of a veth pair.
type End struct {
	NS   *netns.NetNS
	Name string
	MAC  net.HardwareAddr
}

// Veth makes a pair with each end in its namespace, both up. mtu in bytes.
func Veth(a, b End, mtu int) error {
	err := with(a.NS, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = a.Name, mtu, a.MAC
		return h.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: b.Name, PeerHardwareAddr: b.MAC,
			PeerNamespace: netlink.NsFd(b.NS.FD()),
		})
	})
	if err != nil {
		return fmt.Errorf("add veth pair %s:%s, %s:%s: %w", a.NS.Name(), a.Name, b.NS.Name(), b.Name, err)
	}
	return errors.Join(Up(a.NS, a.Name), Up(b.NS, b.Name))
}

// Bridge makes a learning bridge over ports, which exist, and sets it up.
// Spanning tree stays off, so a port forwards at once.
func Bridge(ns *netns.NetNS, name string, ports []string) error {
	return with(ns, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		br := &netlink.Bridge{LinkAttrs: attrs}
		if err := h.LinkAdd(br); err != nil {
			return fmt.Errorf("add bridge %s:%s: %w", ns.Name(), name, err)
		}
		for _, port := range ports {
			l, err := h.LinkByName(port)
			if err == nil {
				err = h.LinkSetMaster(l, br)
			}
			if err != nil {
				return fmt.Errorf("add port %s to bridge %s:%s: %w", port, ns.Name(), name, err)
			}
		}
		return up(h, ns, name)
	})
}

// VXLAN describes a device for AddVXLAN.
type VXLAN struct {
	Name string
	ID   int
	Port int
	// MTU in bytes; zero leaves the kernel's choice.
	MTU     int
	MAC     net.HardwareAddr
	Local   netip.Addr
	Remotes []netip.Addr
	// Static devices neither flood to Remotes nor learn: AddRemote tells them.
	Static bool
}

// AddVXLAN makes a VXLAN device (RFC 7348) that floods unknown, broadcast and
// multicast frames to v.Remotes and learns from what comes back, unless it is
// static.
func AddVXLAN(ns *netns.NetNS, v VXLAN) error {
	return with(ns, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = v.Name, v.MTU, v.MAC
		dev := &netlink.Vxlan{
			LinkAttrs: attrs, VxlanId: v.ID, Port: v.Port, Learning: !v.Static,
			SrcAddr: v.Local.AsSlice(),
		}
		if err := h.LinkAdd(dev); err != nil {
			return fmt.Errorf("add vxlan %s:%s: %w", ns.Name(), v.Name, err)
		}
		for _, r := range v.Remotes {
			if v.Static {
				break
			}
			err := h.NeighAppend(&netlink.Neigh{
				LinkIndex: dev.Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
				State: netlink.NUD_PERMANENT, IP: r.AsSlice(), HardwareAddr: make(net.HardwareAddr, 6),
			})
			if err != nil {
				return fmt.Errorf("add remote %s to vxlan %s:%s: %w", r, ns.Name(), v.Name, err)
			}
		}
		return up(h, ns, v.Name)
	})
}

// Remote is the other end of a static VXLAN as flanneld knows it.
type Remote struct {
	// Local is its underlay address, MAC its device's own.
	Local netip.Addr
	MAC   net.HardwareAddr
	// Addresses are those that routes name as next hops.
	Addresses []netip.Addr
}

// AddRemote tells a static VXLAN of a remote: a permanent neighbour for each
// address, and where frames to it go.
func AddRemote(ns *netns.NetNS, name string, r Remote) error {
	return change(ns, name, "add remote "+r.Local.String()+" to", func(h *netlink.Handle, l netlink.Link) error {
		err := h.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
			State: netlink.NUD_PERMANENT, IP: r.Local.AsSlice(), HardwareAddr: r.MAC,
		})
		for _, a := range r.Addresses {
			err = errors.Join(err, h.NeighSet(&netlink.Neigh{
				LinkIndex: l.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
				IP: a.AsSlice(), HardwareAddr: r.MAC,
			}))
		}
		return err
	})
}

// Up sets the interface up.
func Up(ns *netns.NetNS, name string) error {
	return with(ns, func(h *netlink.Handle) error { return up(h, ns, name) })
}

// Down sets the interface down: routes over it go, its peer loses carrier.
func Down(ns *netns.NetNS, name string) error {
	return change(ns, name, "set down", (*netlink.Handle).LinkSetDown)
}

// SetMTU sets the MTU in bytes.
func SetMTU(ns *netns.NetNS, name string, mtu int) error {
	return change(ns, name, "set MTU of", func(h *netlink.Handle, l netlink.Link) error {
		return h.LinkSetMTU(l, mtu)
	})
}

// AddAddress adds an address with its prefix length.
func AddAddress(ns *netns.NetNS, name string, p netip.Prefix) error {
	return change(ns, name, "add address "+p.String()+" to", func(h *netlink.Handle, l netlink.Link) error {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			// Duplicate detection would keep the address unusable for a second.
			a.Flags = unix.IFA_F_NODAD
		}
		return h.AddrAdd(l, a)
	})
}

func up(h *netlink.Handle, ns *netns.NetNS, name string) error {
	l, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("set up %s:%s: %w", ns.Name(), name, err)
	}
	return nil
}

func change(ns *netns.NetNS, name, verb string, f func(*netlink.Handle, netlink.Link) error) error {
	return with(ns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err == nil {
			err = f(h, l)
		}
		if err != nil {
			return fmt.Errorf("%s %s:%s: %w", verb, ns.Name(), name, err)
		}
		return nil
	})
}

// with opens netlink in ns for one change. Opening costs some 50 us, which a
// topology can afford; a kept socket would keep the namespace alive.
func with(ns *netns.NetNS, f func(*netlink.Handle) error) error {
	var h *netlink.Handle
	err := ns.Do(func() error {
		var err error
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", ns.Name(), err)
	}
	defer h.Close()
	return f(h)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
