package plan

import (
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Gone returns the ids of backends of UDP services that no slot names and that
// no desired service lists. A backend that is listed and gets no slot, because a
// probe failed or its route is missing, is not gone: it may come back. Of TCP and
// SCTP it names none: a flow of theirs ends with its connection, and to look for
// it through all flows with each pod that goes would be for nothing. Of a service
// that an earlier run has deleted nobody knows the protocol, so its backends count.
func Gone(desired []v1.Service, state *State) map[uint32]bool {
	if len(state.retiredBackends) == 0 {
		return nil
	}
	frontends := state.Frontends()
	gone, of := map[uint32]bool{}, map[uint32]bool{}
	for id := range state.retiredBackends {
		service := state.backends[id].Service
		if f, known := frontends[service]; !known || f.Protocol == v1.UDP {
			gone[id], of[service] = true, true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	for _, s := range desired {
		service, ok := state.serviceIDOf(s.Frontend)
		if !ok || !of[service] {
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
