package plan

import (
	"fmt"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/slots"
)

// service plans one valid service, whole or not at all.
func (p *planner) service(s v1.Service) *refusal {
	old, existed := p.state.services[s.Frontend]
	if !existed && p.desired.Own[s.VIP] {
		return &refusal{ReasonOwnAddress, fmt.Sprintf(
			"%s is an address of this node, of which nothing else would be reached any more; give the service another one", s.VIP)}
	}
	if !existed && !p.occupied[s.VIP] && len(p.occupied) >= p.limits.VIPs {
		return &refusal{ReasonVIPsExhausted, exhausted("VIPs", p.limits.VIPs, "remove a VIP or share one")}
	}
	id, isNew, why := p.serviceID(s.Frontend)
	if why != nil {
		return why
	}
	candidates := p.candidates(s)
	named, written, why := p.backendIDs(s.Frontend, id, candidates)
	if why == nil {
		why = p.slots(s, id, candidates, named, written, old, existed)
	}
	if why != nil {
		p.backends.giveBack(fresh(written)...)
		if isNew {
			p.services.giveBack(id)
		}
		return why
	}
	if !existed {
		p.added++
	}
	p.occupied[s.VIP] = true
	p.stoodOn[s.VIP] = true
	return nil
}

// serviceID keeps the id that the frontend has, or had while it still rests.
func (p *planner) serviceID(f v1.Frontend) (id uint32, isNew bool, why *refusal) {
	if e, ok := p.state.services[f]; ok {
		return e.ID, false, nil
	}
	full := &refusal{ReasonServicesExhausted,
		exhausted("services", p.limits.Services-1, "remove a service or wait until the flows of removed ones have ended")}
	if len(p.state.services)+p.added >= p.limits.Services {
		return 0, false, full
	}
	if r, ok := p.state.retiredServices[f]; ok {
		return r.id, false, nil
	}
	id, ok := p.services.take()
	if !ok {
		return 0, false, full
	}
	return id, true, nil
}

// candidate is a backend that gets slots.
type candidate struct {
	slots.Backend
	lb bool
}

// candidates returns the backends that get slots, by address, so that the
// order in which a controller sends them changes nothing. Inactive ones are
// left out, and unserved ones. So are unreachable ones, unless all that are left
// are: then packets are dropped for the true reason.
func (p *planner) candidates(s v1.Service) []candidate {
	all := make([]candidate, 0, len(s.Backends))
	for _, b := range s.Backends {
		address := netip.AddrPortFrom(b.Address, b.Port)
		if p.desired.Unserved[b.Address] {
			continue
		}
		if s.Monitor && p.desired.Inactive[Endpoint{s.Frontend, address}] {
			continue
		}
		all = append(all, candidate{slots.Backend{Address: address, Weight: b.Weight}, b.LB})
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.Address.Compare(b.Address) })
	unreachable := func(b candidate) bool { return p.desired.Unreachable[b.Address.Addr()] }
	if slices.ContainsFunc(all, func(b candidate) bool { return !unreachable(b) }) {
		all = slices.DeleteFunc(all, unreachable)
	}
	return all
}

// write is a backend to be written, fresh when its id is new.
type write struct {
	step  PutBackend
	fresh bool
}

func fresh(writes []write) []uint32 {
	var ids []uint32
	for _, w := range writes {
		if w.fresh {
			ids = append(ids, w.step.ID)
		}
	}
	return ids
}

// backendIDs returns an id for each candidate and the backends that have to
// be written.
func (p *planner) backendIDs(f v1.Frontend, service uint32, candidates []candidate) ([]uint32, []write, *refusal) {
	named := make([]uint32, 0, len(candidates))
	var written []write
	for _, c := range candidates {
		want := Backend{
			Service: service, Address: c.Address,
			NodeAddress: p.desired.NodeAddresses[c.Address.Addr()],
			Local:       p.desired.Local[c.Address.Addr()], LB: c.lb,
		}
		id, known := p.state.ids[identity(want)]
		if !known {
			var ok bool
			if id, ok = p.backends.take(); !ok {
				return nil, written, &refusal{ReasonBackendsExhausted,
					exhausted("backends", p.limits.Backends-1, "remove backends or wait until the flows of removed ones have ended")}
			}
		}
		if !known || p.state.backends[id] != want {
			written = append(written, write{PutBackend{ID: id, Backend: want, For: f}, !known})
		}
		named = append(named, id)
	}
	return named, written, nil
}

// slots finds room for the table and emits the service's steps.
func (p *planner) slots(
	s v1.Service, id uint32, candidates []candidate, named []uint32, written []write, old entry, existed bool,
) *refusal {
	table := builder(s).Build(weighed(candidates))
	ids := make([]uint32, len(table))
	for i, candidate := range table {
		ids[i] = named[candidate]
	}
	region := old.Slots
	sameSlots := existed && slices.Equal(ids, old.slots)
	if !sameSlots {
		var ok bool
		if region, ok = p.regions.take(uint32(len(ids))); !ok {
			return &refusal{ReasonSlotsExhausted, fmt.Sprintf(
				"no %d free slots in a row of %d; give the service smaller weights or fewer backends, or round robin instead of hash", len(ids), p.limits.Slots)}
		}
	}
	if why := p.putSources(s, id); why != nil {
		return why
	}
	for _, w := range written {
		p.steps = append(p.steps, w.step)
	}
	if !sameSlots && len(ids) > 0 {
		p.steps = append(p.steps, PutSlots{Region: region, IDs: ids, For: s.Frontend})
	}
	want := Service{
		ID: id, Slots: region, Mode: s.Mode, Algorithm: algorithm(s.Algorithm),
		Affinity: s.Affinity, Restricted: len(s.Sources) > 0,
	}
	if !existed || old.Service != want || !sameSlots {
		p.steps = append(p.steps, PutService{Frontend: s.Frontend, Service: want, IDs: ids})
	}
	p.retire(s.Frontend, old.slots, ids)
	return nil
}

func weighed(candidates []candidate) []slots.Backend {
	all := make([]slots.Backend, len(candidates))
	for i, c := range candidates {
		all[i] = c.Backend
	}
	return all
}

func algorithm(a v1.Algorithm) v1.Algorithm {
	if a == "" {
		return v1.RoundRobin
	}
	return a
}

// builder returns what fills the slot table of a service.
func builder(s v1.Service) slots.Builder {
	if s.Algorithm == v1.Hash {
		return slots.Maglev{Size: slots.MaglevSize(len(s.Backends))}
	}
	return slots.RoundRobin{}
}
