// Package maps gives the BPF maps typed methods over netip addresses and
// ports in host order. It is the only package of the dataplane that turns
// them into network order and back.
package maps

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Maps are the maps that the programs of all hooks share. Its methods are
// safe for concurrent use as far as the kernel's maps are: each element is
// written whole, but PutSlots is not one write.
type Maps struct {
	vips, services, slots, backends *ebpf.Map
	backendAddrs, sources           *ebpf.Map
	devices, counters, config       *ebpf.Map
	flows, flowsNew                 *ebpf.Map
	cache, epoch                    *ebpf.Map

	// counting is held while epoch counts on, configuring while config changes.
	counting, configuring sync.Mutex
}

// New finds the maps by their names in a loaded collection, which stays the
// owner and closes them.
func New(loaded map[string]*ebpf.Map) (*Maps, error) {
	for _, name := range bpf.MapNames() {
		if loaded[name] == nil {
			return nil, fmt.Errorf("find map %s: the BPF object does not have it; rebuild weir", name)
		}
	}
	return &Maps{
		vips: loaded[bpf.MapVIPs], services: loaded[bpf.MapServices],
		slots: loaded[bpf.MapSlots], backends: loaded[bpf.MapBackends],
		backendAddrs: loaded[bpf.MapBackendAddrs], sources: loaded[bpf.MapSources],
		devices: loaded[bpf.MapDevices], counters: loaded[bpf.MapCounters], config: loaded[bpf.MapConfig],
		flows: loaded[bpf.MapFlows], flowsNew: loaded[bpf.MapFlowsNew],
		cache: loaded[bpf.MapCache], epoch: loaded[bpf.MapEpoch],
	}, nil
}

// Limits returns the sizes of the maps that a plan fills.
func (m *Maps) Limits() plan.Limits {
	return plan.Limits{
		VIPs: int(m.vips.MaxEntries()), Services: int(m.services.MaxEntries()),
		Backends: int(m.backends.MaxEntries()), Slots: int(m.slots.MaxEntries()),
		Sources: int(m.sources.MaxEntries()),
	}
}

// PutVIP writes an address with its flags and source ports.
func (m *Maps) PutVIP(address netip.Addr, v plan.VIP) error {
	if err := m.vips.Put(bpf.Addr(address), vipOut(v)); err != nil {
		return fmt.Errorf("write VIP %s: %w", address, err)
	}
	return nil
}

// DeleteVIP removes an address; an absent one is success.
func (m *Maps) DeleteVIP(address netip.Addr) error {
	if err := remove(m.vips, bpf.Addr(address)); err != nil {
		return fmt.Errorf("delete VIP %s: %w", address, err)
	}
	return nil
}

// PutService writes a service's entry.
func (m *Maps) PutService(f v1.Frontend, s plan.Service) error {
	out, err := serviceOut(s)
	if err == nil {
		err = m.services.Put(serviceKeyOut(f), out)
	}
	if err != nil {
		return fmt.Errorf("write service %s: %w", f, err)
	}
	return nil
}

// DeleteService removes a service's entry; an absent one is success.
func (m *Maps) DeleteService(f v1.Frontend) error {
	if err := remove(m.services, serviceKeyOut(f)); err != nil {
		return fmt.Errorf("delete service %s: %w", f, err)
	}
	return nil
}

// PutBackend writes a backend. The zero Backend clears the element. Only one
// goroutine may write backends: their addresses are counted.
func (m *Maps) PutBackend(id uint32, b plan.Backend) error {
	if err := m.putBackend(id, backendOut(b)); err != nil {
		return fmt.Errorf("write backend %d %s: %w", id, b.Address, err)
	}
	return nil
}

// putBackend counts the new address before it writes and lets go of the old one
// after: when it is cut short a count is too high, and what comes from that
// address goes without a refusal. Too low, its answers would not be looked up
// in flows, and a refusal might close its socket.
func (m *Maps) putBackend(id uint32, b bpf.Backend) error {
	var old bpf.Backend
	if err := m.backends.Lookup(id, &old); err != nil {
		return err
	}
	if b.Addr == old.Addr {
		return m.backends.Put(id, b)
	}
	if err := m.countAddress(b.Addr, 1); err != nil {
		return err
	}
	if err := m.backends.Put(id, b); err != nil {
		return errors.Join(err, m.countAddress(b.Addr, -1))
	}
	return m.countAddress(old.Addr, -1)
}

// countAddress changes how many backends have an address; 0 is none.
func (m *Maps) countAddress(address uint32, by int) error {
	if address == 0 {
		return nil
	}
	var n uint32
	if err := m.backendAddrs.Lookup(address, &n); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("count address %s: %w", bpf.AddrFrom(address), err)
	}
	left := int(n) + by
	if left <= 0 {
		return remove(m.backendAddrs, address)
	}
	return m.backendAddrs.Put(address, uint32(left))
}

// PutSlots writes ids from offset on, in one system call where the kernel
// lets it. When it fails a part may have been written.
func (m *Maps) PutSlots(offset uint32, ids []uint32) error {
	keys := make([]uint32, len(ids))
	for i := range keys {
		keys[i] = offset + uint32(i)
	}
	if _, err := m.slots.BatchUpdate(keys, ids, nil); err != nil {
		return fmt.Errorf("write %d slots at %d: %w", len(ids), offset, err)
	}
	return nil
}

// PutSource lets clients of an IPv4 prefix come in to a service, by its id.
func (m *Maps) PutSource(service uint32, prefix netip.Prefix) error {
	if err := m.sources.Put(sourceKeyOut(service, prefix), uint32(1)); err != nil {
		return fmt.Errorf("write source range %s of service %d: %w", prefix, service, err)
	}
	return nil
}

// DeleteSource takes a prefix out; an absent one is success.
func (m *Maps) DeleteSource(service uint32, prefix netip.Prefix) error {
	if err := remove(m.sources, sourceKeyOut(service, prefix)); err != nil {
		return fmt.Errorf("delete source range %s of service %d: %w", prefix, service, err)
	}
	return nil
}

func remove(m *ebpf.Map, key any) error {
	err := m.Delete(key)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}
