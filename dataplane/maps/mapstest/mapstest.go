// Package mapstest has maps for tests: one in memory, and a wrapper that lets
// any maps fail.
package mapstest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/apply"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Memory holds what the BPF maps would. Fields may be read while no method
// runs.
type Memory struct {
	VIPs     map[netip.Addr]plan.VIP
	Services map[v1.Frontend]plan.Service
	Backends map[uint32]plan.Backend
	Slots    []uint32
	// Sources by the id of their service.
	Sources map[uint32]map[netip.Prefix]bool
	// Writes counts the calls.
	Writes int

	mu sync.Mutex
}

var _ apply.Maps = (*Memory)(nil)

// NewMemory returns empty maps with as many slots.
func NewMemory(slots int) *Memory {
	return &Memory{
		VIPs:     map[netip.Addr]plan.VIP{},
		Services: map[v1.Frontend]plan.Service{},
		Backends: map[uint32]plan.Backend{},
		Slots:    make([]uint32, slots),
		Sources:  map[uint32]map[netip.Prefix]bool{},
	}
}

func (m *Memory) write(do func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Writes++
	do()
	return nil
}

// PutVIP writes an address.
func (m *Memory) PutVIP(a netip.Addr, v plan.VIP) error {
	return m.write(func() { m.VIPs[a] = v })
}

// DeleteVIP removes an address.
func (m *Memory) DeleteVIP(a netip.Addr) error {
	return m.write(func() { delete(m.VIPs, a) })
}

// PutService writes an entry.
func (m *Memory) PutService(f v1.Frontend, s plan.Service) error {
	return m.write(func() { m.Services[f] = s })
}

// DeleteService removes an entry.
func (m *Memory) DeleteService(f v1.Frontend) error {
	return m.write(func() { delete(m.Services, f) })
}

// PutBackend writes an element, or removes it when b is zero.
func (m *Memory) PutBackend(id uint32, b plan.Backend) error {
	return m.write(func() {
		if b == (plan.Backend{}) {
			delete(m.Backends, id)
			return
		}
		m.Backends[id] = b
	})
}

// PutSlots writes a region.
func (m *Memory) PutSlots(offset uint32, ids []uint32) error {
	if int(offset)+len(ids) > len(m.Slots) {
		return fmt.Errorf("write %d slots at %d: only %d exist", len(ids), offset, len(m.Slots))
	}
	return m.write(func() { copy(m.Slots[offset:], ids) })
}

// PutSource lets a prefix in.
func (m *Memory) PutSource(service uint32, p netip.Prefix) error {
	return m.write(func() {
		if m.Sources[service] == nil {
			m.Sources[service] = map[netip.Prefix]bool{}
		}
		m.Sources[service][p] = true
	})
}

// DeleteSource takes a prefix out.
func (m *Memory) DeleteSource(service uint32, p netip.Prefix) error {
	return m.write(func() { delete(m.Sources[service], p) })
}

// Targets resolves a frontend as a packet does: how many slots each backend
// has, nil when there is no service.
func (m *Memory) Targets(f v1.Frontend) map[netip.AddrPort]int {
	s, ok := m.Services[f]
	if !ok {
		return nil
	}
	targets := map[netip.AddrPort]int{}
	for _, id := range m.Slots[s.Slots.Offset : s.Slots.Offset+s.Slots.Count] {
		targets[m.Backends[id].Address]++
	}
	return targets
}

// ErrInjected is what Faulty returns for a call that it lets fail.
var ErrInjected = errors.New("injected fault")

// Faulty passes calls on to Maps, except for a share of them, which fail and
// do nothing. A failing PutSlots writes the first half: a region that nothing
// reads may hold anything. It must not be used concurrently.
type Faulty struct {
	Maps apply.Maps
	// Share of calls that fail, 0 to 1.
	Share float64
	// Random decides; a seeded source repeats a run.
	Random *rand.Rand
	// Limit is how many calls fail at most; zero is no limit.
	Limit int
	// Calls counts all calls, Injected those that failed.
	Calls, Injected int
}

var _ apply.Maps = (*Faulty)(nil)

// perTest is how many calls fail of a test's: so many attempts fail at most, and
// a dataplane makes one more before it tells.
const perTest = 2

// Disturb returns maps whose first write fails, and one more at random by the test's name.
func Disturb(t testing.TB, maps apply.Maps) *Faulty {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	return &Faulty{Maps: maps, Share: 0.5, Limit: perTest, Random: rand.New(rand.NewPCG(h.Sum64(), 0))}
}

func (f *Faulty) try(call func() error) error {
	f.Calls++
	if f.Limit > 0 && f.Injected == f.Limit {
		return call()
	}
	// With a limit the first call fails: few writes are enough for a test then.
	if f.Limit > 0 && f.Calls == 1 || f.Random.Float64() < f.Share {
		f.Injected++
		return ErrInjected
	}
	return call()
}

// PutVIP may fail.
func (f *Faulty) PutVIP(a netip.Addr, v plan.VIP) error {
	return f.try(func() error { return f.Maps.PutVIP(a, v) })
}

// DeleteVIP may fail.
func (f *Faulty) DeleteVIP(a netip.Addr) error {
	return f.try(func() error { return f.Maps.DeleteVIP(a) })
}

// PutService may fail.
func (f *Faulty) PutService(fe v1.Frontend, s plan.Service) error {
	return f.try(func() error { return f.Maps.PutService(fe, s) })
}

// DeleteService may fail.
func (f *Faulty) DeleteService(fe v1.Frontend) error {
	return f.try(func() error { return f.Maps.DeleteService(fe) })
}

// PutBackend may fail.
func (f *Faulty) PutBackend(id uint32, b plan.Backend) error {
	return f.try(func() error { return f.Maps.PutBackend(id, b) })
}

// PutSource may fail.
func (f *Faulty) PutSource(service uint32, p netip.Prefix) error {
	return f.try(func() error { return f.Maps.PutSource(service, p) })
}

// DeleteSource may fail.
func (f *Faulty) DeleteSource(service uint32, p netip.Prefix) error {
	return f.try(func() error { return f.Maps.DeleteSource(service, p) })
}

// PutSlots may fail halfway.
func (f *Faulty) PutSlots(offset uint32, ids []uint32) error {
	err := f.try(func() error { return f.Maps.PutSlots(offset, ids) })
	if errors.Is(err, ErrInjected) {
		_ = f.Maps.PutSlots(offset, ids[:len(ids)/2])
	}
	return err
}
