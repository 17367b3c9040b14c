package maps

import (
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Device is what the programs need to know of a network interface.
type Device struct {
	// MTU in bytes, without the Ethernet header.
	MTU int
	// MAC is all zero for an interface without one; the programs then take
	// frames to any address.
	MAC [6]byte
	// Address is its first IPv4 address, from which ICMP errors come that leave by
	// it. Zero for an interface without one.
	Address netip.Addr
	// TransmitsXDP says that frames which XDP sends to it arrive.
	TransmitsXDP bool
	// RedirectOnly says that XDP_TX does not wake the other end, as on veth:
	// XDP redirects frames even back to where they came from.
	RedirectOnly bool
	// SeesEgress says that the egress program sees what leaves by it.
	SeesEgress bool
}

// PutDevice writes an interface by its index.
func (m *Maps) PutDevice(index int, d Device) error {
	out := bpf.Device{Mtu: uint32(d.MTU), Mac: d.MAC}
	if d.Address.Is4() {
		out.Addr = bpf.Addr(d.Address)
	}
	if d.TransmitsXDP {
		out.Flags |= bpf.DeviceXDPTx
	}
	if d.RedirectOnly {
		out.Flags |= bpf.DeviceRedirect
	}
	if d.SeesEgress {
		out.Flags |= bpf.DeviceEgress
	}
	if err := m.devices.Put(uint32(index), out); err != nil {
		return fmt.Errorf("write interface %d: %w", index, err)
	}
	return nil
}

// DeleteDevice removes an interface; an absent one is success.
func (m *Maps) DeleteDevice(index int) error {
	if err := remove(m.devices, uint32(index)); err != nil {
		return fmt.Errorf("delete interface %d: %w", index, err)
	}
	return nil
}

// NexthopGeneration returns what SetNexthopGeneration has written last, zero
// before.
func (m *Maps) NexthopGeneration() (uint32, error) {
	var c bpf.Config
	if err := m.config.Lookup(uint32(0), &c); err != nil {
		return 0, fmt.Errorf("read next hop generation: %w", err)
	}
	return c.NexthopGeneration, nil
}

// SetNexthopGeneration makes every flow look its next hop up again, once.
func (m *Maps) SetNexthopGeneration(generation uint32) error {
	if err := m.configure(func(c *bpf.Config) { c.NexthopGeneration = generation }); err != nil {
		return fmt.Errorf("write next hop generation: %w", err)
	}
	return nil
}

// SetOwnPorts writes which source ports new flows get whose source is an address of
// this node.
func (m *Maps) SetOwnPorts(own plan.PortRange) error {
	if err := m.configure(func(c *bpf.Config) { c.OwnPortMin, c.OwnPortMax = own.Min, own.Max }); err != nil {
		return fmt.Errorf("write the node's own ports: %w", err)
	}
	return nil
}

// configure changes the one element of config. Safe for concurrent use.
func (m *Maps) configure(change func(*bpf.Config)) error {
	m.configuring.Lock()
	defer m.configuring.Unlock()
	var c bpf.Config
	if err := m.config.Lookup(uint32(0), &c); err != nil {
		return err
	}
	change(&c)
	return m.config.Put(uint32(0), c)
}
