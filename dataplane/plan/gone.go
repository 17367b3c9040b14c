package plan

import (
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Gone returns the ids of backends that no slot names and that no desired
// service lists. A backend that is listed and gets no slot, because a probe
// failed or its route is missing, is not gone: it may come back.
func Gone(desired []v1.Service, state *State) map[uint32]bool {
	gone := make(map[uint32]bool, len(state.retiredBackends))
	for id := range state.retiredBackends {
		gone[id] = true
	}
	if len(gone) == 0 {
		return gone
	}
	for _, s := range desired {
		service, ok := state.serviceIDOf(s.Frontend)
		if !ok {
			continue
		}
		for _, b := range s.Backends {
			if id, ok := state.BackendID(service, netip.AddrPortFrom(b.Address, b.Port)); ok {
				delete(gone, id)
			}
		}
	}
	return gone
}

// IdleTimeouts returns those that services ask for, by the services' ids.
func IdleTimeouts(desired []v1.Service, state *State) map[uint32]time.Duration {
	timeouts := map[uint32]time.Duration{}
	for _, s := range desired {
		if s.IdleTimeout == 0 {
			continue
		}
		if id, ok := state.serviceIDOf(s.Frontend); ok {
			timeouts[id] = time.Duration(s.IdleTimeout) * time.Second
		}
	}
	return timeouts
}

// serviceIDOf returns the id by which flows name a frontend.
func (s *State) serviceIDOf(f v1.Frontend) (uint32, bool) {
	if e, ok := s.services[f]; ok {
		return e.ID, true
	}
	r, ok := s.retiredServices[f]
	return r.id, ok
}
