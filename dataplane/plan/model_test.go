package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

var (
	epoch      = time.Unix(1_000_000, 0)
	testLimits = Limits{VIPs: 3, Services: 6, Backends: 12, Slots: 40, Sources: 8}
	roomy      = Limits{VIPs: 16, Services: 16, Backends: 64, Slots: 4096, Sources: 64}
)

// kernel is the maps as packets see them. It checks what must hold after
// every single write.
type kernel struct {
	limits   Limits
	vips     map[netip.Addr]VIP
	services map[v1.Frontend]Service
	backends map[uint32]Backend
	slots    []uint32
	sources  map[uint32]map[netip.Prefix]bool
	// flows are ids that must keep their meaning: backend id -> identity.
	flows map[uint32]Backend
	// vipOf are the VIPs that their clients call, which programs know a packet by.
	vipOf map[uint32]netip.Addr
	// full says that there was no room for another VIP since the plan began, but for the
	// missed ones that it could not write.
	full   bool
	missed int
	// readers are regions that a running program may still read, until.
	readers map[Region]time.Time
	writes  int
}

func newKernel(limits Limits) *kernel {
	return &kernel{
		limits:   limits,
		vips:     map[netip.Addr]VIP{},
		services: map[v1.Frontend]Service{},
		backends: map[uint32]Backend{},
		slots:    make([]uint32, limits.Slots),
		sources:  map[uint32]map[netip.Prefix]bool{},
		flows:    map[uint32]Backend{},
		vipOf:    map[uint32]netip.Addr{},
		readers:  map[Region]time.Time{},
	}
}

// do writes one step and returns what it broke.
func (k *kernel) do(step Step, now time.Time) error {
	k.writes++
	switch s := step.(type) {
	case PutBackend:
		if s.ID == 0 || int(s.ID) >= k.limits.Backends {
			return fmt.Errorf("backend id %d is out of range", s.ID)
		}
		if was, live := k.flows[s.ID]; live && was != identity(s.Backend) {
			return fmt.Errorf("id %d means %v to a flow and becomes %v", s.ID, was, s.Backend)
		}
		k.backends[s.ID] = s.Backend
	case PutSource:
		if k.sources[s.Service] == nil {
			k.sources[s.Service] = map[netip.Prefix]bool{}
		}
		k.sources[s.Service][s.Prefix] = true
	case DeleteSource:
		delete(k.sources[s.Service], s.Prefix)
		if len(k.sources[s.Service]) == 0 {
			delete(k.sources, s.Service)
		}
	case PutSlots:
		return k.putSlots(s, now)
	case PutService:
		if old, ok := k.services[s.Frontend]; ok && old.Slots != s.Service.Slots {
			k.readers[old.Slots] = now.Add(Grace)
		}
		k.services[s.Frontend] = s.Service
	case PutVIP:
		if !s.VIP.Retired && !slices.ContainsFunc(k.frontends(), func(f v1.Frontend) bool { return f.VIP == s.Address }) {
			return fmt.Errorf("VIP %s is written before any service", s.Address)
		}
		k.vips[s.Address] = s.VIP
	case DeleteService:
		k.readers[k.services[s.Frontend].Slots] = now.Add(Grace)
		delete(k.services, s.Frontend)
	case DeleteVIP:
		for id := range k.flows {
			if k.vipOf[id] == s.Address && !k.full && len(k.vips)+k.missed < k.limits.VIPs {
				return fmt.Errorf("VIP %s is deleted under a flow to backend %d", s.Address, id)
			}
		}
		if !k.vips[s.Address].Retired {
			return fmt.Errorf("VIP %s is deleted before it is retired", s.Address)
		}
		delete(k.vips, s.Address)
	case DeleteBackend:
		if _, live := k.flows[s.ID]; live {
			return fmt.Errorf("backend %d is deleted under a flow", s.ID)
		}
		delete(k.backends, s.ID)
	}
	k.full = k.full || len(k.vips)+k.missed >= k.limits.VIPs
	return k.check()
}

func (k *kernel) has(vip netip.Addr) bool {
	_, has := k.vips[vip]
	return has
}

func (k *kernel) hasRoom(vip netip.Addr) bool { return k.has(vip) || len(k.vips) < k.limits.VIPs }

// begin is called before each plan.
func (k *kernel) begin() { k.full, k.missed = len(k.vips) == k.limits.VIPs, 0 }

// observe returns the steps that would fill the maps, as those who adopt them read them.
func (k *kernel) observe() (steps []Step) {
	for id, b := range k.backends {
		steps = append(steps, PutBackend{ID: id, Backend: b})
	}
	for f, s := range k.services {
		ids := slices.Clone(k.slots[s.Slots.Offset : s.Slots.Offset+s.Slots.Count])
		steps = append(steps, PutService{Frontend: f, Service: s, IDs: ids})
	}
	for id, prefixes := range k.sources {
		for p := range prefixes {
			steps = append(steps, PutSource{Service: id, Prefix: p})
		}
	}
	for address, v := range k.vips {
		steps = append(steps, PutVIP{Address: address, VIP: v})
	}
	return steps
}

func (k *kernel) putSlots(s PutSlots, now time.Time) error {
	if int(s.Region.Count) != len(s.IDs) || int(s.Region.Offset+s.Region.Count) > len(k.slots) {
		return fmt.Errorf("%d ids for region %s of %d slots", len(s.IDs), s.Region, len(k.slots))
	}
	for f, live := range k.services {
		if overlap(live.Slots, s.Region) {
			return fmt.Errorf("region %s is written under %s", s.Region, f)
		}
	}
	for r, until := range k.readers {
		if overlap(r, s.Region) && !now.After(until) {
			return fmt.Errorf("region %s is written while a program may read %s", s.Region, r)
		}
	}
	copy(k.slots[s.Region.Offset:], s.IDs)
	return nil
}

func overlap(a, b Region) bool {
	return a.Count > 0 && b.Count > 0 && a.Offset < b.Offset+b.Count && b.Offset < a.Offset+a.Count
}

func (k *kernel) frontends() []v1.Frontend {
	fs := make([]v1.Frontend, 0, len(k.services))
	for f := range k.services {
		fs = append(fs, f)
	}
	return fs
}

// check says what a packet could trip over.
func (k *kernel) check() error {
	if len(k.services) > k.limits.Services || len(k.vips) > k.limits.VIPs {
		return fmt.Errorf("%d services, %d VIPs are over %+v", len(k.services), len(k.vips), k.limits)
	}
	prefixes := 0
	for _, all := range k.sources {
		prefixes += len(all)
	}
	if prefixes > k.limits.Sources {
		return fmt.Errorf("%d source ranges are over %+v", prefixes, k.limits)
	}
	seen := map[uint32]v1.Frontend{}
	for f, s := range k.services {
		if s.Restricted && len(k.sources[s.ID]) == 0 {
			return fmt.Errorf("%s is restricted and lets nobody in", f)
		}
		if other, taken := seen[s.ID]; taken || s.ID == 0 || int(s.ID) >= k.limits.Services {
			return fmt.Errorf("%s has service id %d, as %s", f, s.ID, other)
		}
		seen[s.ID] = f
		for _, id := range k.slots[s.Slots.Offset : s.Slots.Offset+s.Slots.Count] {
			if b, ok := k.backends[id]; !ok || b.Service != s.ID || b.Retired {
				return fmt.Errorf("a slot of %s names %d, which is %+v", f, id, b)
			}
		}
	}
	return nil
}

// targets resolves a frontend as a packet does: how many slots each backend
// has, false when there is no service.
func (k *kernel) targets(f v1.Frontend) (map[netip.AddrPort]int, bool) {
	s, ok := k.services[f]
	if !ok {
		return nil, false
	}
	targets := map[netip.AddrPort]int{}
	for _, id := range k.slots[s.Slots.Offset : s.Slots.Offset+s.Slots.Count] {
		targets[k.backends[id].Address]++
	}
	return targets, true
}

// run does a plan whole and returns the number of its steps.
func (k *kernel) run(p Plan, s *State, now time.Time) (int, error) {
	k.begin()
	for _, step := range p.Steps {
		if err := k.do(step, now); err != nil {
			return 0, fmt.Errorf("%T%+v: %w", step, step, err)
		}
		s.Commit(step, now)
	}
	return len(p.Steps), nil
}

func frontend(vip string, port uint16) v1.Frontend {
	return v1.Frontend{VIP: netip.MustParseAddr(vip), Port: port, Protocol: v1.TCP}
}

func service(f v1.Frontend, backends ...string) v1.Service {
	s := v1.Service{Frontend: f, Mode: v1.ModeFullNAT}
	for _, b := range backends {
		ap := netip.MustParseAddrPort(b)
		s.Backends = append(s.Backends, v1.Backend{Address: ap.Addr(), Port: ap.Port()})
	}
	return s
}
