package plan

import (
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// retire marks the backends that have left a service's slots, for the clients that
// keep theirs.
func (p *planner) retire(f v1.Frontend, old, ids []uint32) {
	if slices.Equal(old, ids) {
		return
	}
	stays := make(map[uint32]bool, len(ids))
	for _, id := range ids {
		stays[id] = true
	}
	for _, id := range distinct(old) {
		if b := p.state.backends[id]; !stays[id] && !b.Retired {
			b.Retired = true
			p.steps = append(p.steps, PutBackend{ID: id, Backend: b, For: f})
		}
	}
}

// retireLeft marks those for which that has failed before.
func (p *planner) retireLeft() {
	var left []uint32
	for id := range p.state.retiredBackends {
		if !p.state.backends[id].Retired {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return
	}
	slices.Sort(left)
	_, reused := p.taken()
	owners := p.state.Frontends()
	for _, id := range left {
		b := p.state.backends[id]
		if f, known := owners[b.Service]; known && !reused[id] {
			b.Retired = true
			p.steps = append(p.steps, PutBackend{ID: id, Backend: b, For: f})
		}
	}
}
