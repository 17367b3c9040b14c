package plan

import (
	"net/netip"
	"slices"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// State mirrors the maps that Go writes, and knows what rests. It is exact:
// a step is committed when its map write has succeeded, and a write that
// failed has changed nothing that a packet can see. Not safe for concurrent
// use.
type State struct {
	vips     map[netip.Addr]VIP // retired ones too
	services map[v1.Frontend]entry
	backends map[uint32]Backend
	// ids finds a backend by what it is; the inverse of backends.
	ids map[Backend]uint32
	// sources are the prefixes that the maps have for a service's id.
	sources map[uint32]map[netip.Prefix]bool
	// references counts the services whose slots name a backend.
	references map[uint32]int
	// resting regions may still be read until Grace has passed.
	resting []resting
	// retired services and backends have left the maps' use at the time given, and VIPs
	// are there for their flows alone.
	retiredServices map[v1.Frontend]retiredService
	retiredBackends map[uint32]time.Time
	retiredVIPs     map[netip.Addr]time.Time
	// ghosts are ids of services that were deleted in an earlier run. Flows
	// may name them, and as long as they do they name their backends too.
	ghosts map[uint32]bool
	// lastService and lastBackend are the ids given last: the search for a
	// free one starts behind, so an id rests as long as possible.
	lastService, lastBackend uint32
}

type entry struct {
	Service
	slots []uint32 // content of the region
}

type resting struct {
	region Region
	since  time.Time
}

type retiredService struct {
	id    uint32
	since time.Time
}

// NewState returns the state of empty maps.
func NewState() *State {
	return &State{
		vips:            map[netip.Addr]VIP{},
		services:        map[v1.Frontend]entry{},
		backends:        map[uint32]Backend{},
		ids:             map[Backend]uint32{},
		sources:         map[uint32]map[netip.Prefix]bool{},
		references:      map[uint32]int{},
		retiredServices: map[v1.Frontend]retiredService{},
		retiredBackends: map[uint32]time.Time{},
		retiredVIPs:     map[netip.Addr]time.Time{},
		ghosts:          map[uint32]bool{},
	}
}

// Restore returns the state of maps that an earlier run has filled: steps are
// what would fill them. Ids that only flows may still name rest from now on.
func Restore(steps []Step, now time.Time) *State {
	s := NewState()
	for _, step := range steps {
		s.Commit(step, now)
	}
	stands := make(map[uint32]bool, len(s.services))
	for _, e := range s.services {
		stands[e.ID] = true
	}
	for _, b := range s.backends {
		if !stands[b.Service] {
			s.ghosts[b.Service] = true
		}
	}
	return s
}

// identity is what makes a backend the same one: everything but how this node
// reaches it, which may change under it.
func identity(b Backend) Backend {
	return Backend{Service: b.Service, Address: b.Address}
}

// Commit records a step that has been done at now.
func (s *State) Commit(step Step, now time.Time) {
	switch step := step.(type) {
	case PutBackend:
		s.putBackend(step, now)
	case PutSlots:
		// Nothing leads there yet; PutService makes the region taken.
	case PutSource:
		s.putSource(step)
	case DeleteSource:
		s.deleteSource(step)
	case PutService:
		s.putService(step, now)
	case PutVIP:
		s.putVIP(step, now)
	case DeleteService:
		s.deleteService(step.Frontend, now)
	case DeleteVIP:
		delete(s.vips, step.Address)
		delete(s.retiredVIPs, step.Address)
	case DeleteBackend:
		s.deleteBackend(step.ID)
	case ReleaseService:
		delete(s.retiredServices, step.Frontend)
	}
}

func (s *State) putVIP(step PutVIP, now time.Time) {
	s.vips[step.Address] = step.VIP
	if step.VIP.Retired {
		s.retiredVIPs[step.Address] = now
	} else {
		delete(s.retiredVIPs, step.Address)
	}
}

func (s *State) putBackend(step PutBackend, now time.Time) {
	if _, known := s.backends[step.ID]; !known {
		// Retired until a service leads to it, else it would stay for ever
		// when the rest of its service fails.
		s.retiredBackends[step.ID] = now
		s.lastBackend = step.ID
	}
	s.backends[step.ID] = step.Backend
	s.ids[identity(step.Backend)] = step.ID
}

func (s *State) deleteBackend(id uint32) {
	gone := s.backends[id]
	delete(s.ids, identity(gone))
	delete(s.backends, id)
	delete(s.retiredBackends, id)
	if !s.ghosts[gone.Service] {
		return
	}
	for _, b := range s.backends {
		if b.Service == gone.Service {
			return
		}
	}
	delete(s.ghosts, gone.Service)
}

func (s *State) putService(step PutService, now time.Time) {
	old, existed := s.services[step.Frontend]
	s.services[step.Frontend] = entry{Service: step.Service, slots: step.IDs}
	delete(s.retiredServices, step.Frontend)
	if !existed {
		s.lastService = step.Service.ID
	}
	for _, id := range distinct(step.IDs) {
		s.references[id]++
		delete(s.retiredBackends, id)
	}
	s.dereference(old, now)
	if old.Slots != step.Service.Slots {
		s.rest(old.Slots, now)
	}
}

func (s *State) deleteService(f v1.Frontend, now time.Time) {
	old, existed := s.services[f]
	if !existed {
		return
	}
	delete(s.services, f)
	s.retiredServices[f] = retiredService{id: old.ID, since: now}
	s.dereference(old, now)
	s.rest(old.Slots, now)
}

func (s *State) dereference(old entry, now time.Time) {
	for _, id := range distinct(old.slots) {
		s.references[id]--
		if s.references[id] == 0 {
			delete(s.references, id)
			s.retiredBackends[id] = now
		}
	}
}

func (s *State) rest(r Region, now time.Time) {
	s.resting = slices.DeleteFunc(s.resting, func(r resting) bool { return now.Sub(r.since) > Grace })
	if r.Count > 0 {
		s.resting = append(s.resting, resting{region: r, since: now})
	}
}

func distinct(ids []uint32) []uint32 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// VIPs returns the addresses that the maps hold for services.
func (s *State) VIPs() []netip.Addr {
	var held []netip.Addr
	for address, vip := range s.vips {
		if !vip.Retired {
			held = append(held, address)
		}
	}
	slices.SortFunc(held, netip.Addr.Compare)
	return held
}

// Service returns what the maps hold for a frontend.
func (s *State) Service(f v1.Frontend) (Service, bool) {
	e, ok := s.services[f]
	return e.Service, ok
}

// Frontends finds services by their ids, also those that were deleted and
// rest while flows name them.
func (s *State) Frontends() map[uint32]v1.Frontend {
	byID := make(map[uint32]v1.Frontend, len(s.services)+len(s.retiredServices))
	for f, e := range s.services {
		byID[e.ID] = f
	}
	for f, r := range s.retiredServices {
		byID[r.id] = f
	}
	return byID
}

// BackendID returns the id of a service's backend, also of one that rests.
func (s *State) BackendID(service uint32, address netip.AddrPort) (uint32, bool) {
	id, ok := s.ids[Backend{Service: service, Address: address}]
	return id, ok
}

// Resting says whether ids or VIPs wait to be freed: a plan with a newer Scan may do
// it. Regions come back by themselves.
func (s *State) Resting() bool {
	return len(s.retiredServices)+len(s.retiredBackends)+len(s.retiredVIPs) > 0
}
