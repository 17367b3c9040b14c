package plan

import (
	"maps"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// putSources emits what the maps lack of a service's sources, before the service
// asks for them.
func (p *planner) putSources(s v1.Service, id uint32) *refusal {
	have := p.state.sources[id]
	if len(s.Sources) == 0 && len(have) == 0 {
		return nil // as nearly all
	}
	want := map[netip.Prefix]bool{}
	for _, prefix := range s.Sources {
		want[prefix.Masked()] = true
	}
	p.sources[id] = want
	var steps []Step
	for _, prefix := range sorted(want) {
		if !have[prefix] {
			steps = append(steps, PutSource{Service: id, Prefix: prefix, For: s.Frontend})
		}
	}
	if p.sourceCount+len(steps) > p.limits.Sources {
		delete(p.sources, id)
		return &refusal{ReasonSourcesExhausted,
			exhausted("source ranges", p.limits.Sources, "give services fewer of them")}
	}
	p.sourceCount += len(steps)
	p.steps = append(p.steps, steps...)
	return nil
}

// removeSources emits the end of prefixes that no service wants. It comes after
// the services: who no longer asks for sources must have been told so before.
func (p *planner) removeSources() {
	if len(p.state.sources) == 0 {
		return
	}
	owners := p.state.Frontends()
	for _, id := range slices.Sorted(maps.Keys(p.state.sources)) {
		f := owners[id]
		want, planned := p.sources[id]
		if _, stands := p.state.services[f]; stands && p.wanted[f] && !planned {
			continue // refused: it stays as it is
		}
		for _, prefix := range sorted(p.state.sources[id]) {
			if !want[prefix] {
				p.steps = append(p.steps, DeleteSource{Service: id, Prefix: prefix, For: f})
			}
		}
	}
}

func sorted(prefixes map[netip.Prefix]bool) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(prefixes), netip.Prefix.Compare)
}

func (s *State) putSource(step PutSource) {
	if s.sources[step.Service] == nil {
		s.sources[step.Service] = map[netip.Prefix]bool{}
	}
	s.sources[step.Service][step.Prefix] = true
}

func (s *State) deleteSource(step DeleteSource) {
	delete(s.sources[step.Service], step.Prefix)
	if len(s.sources[step.Service]) == 0 {
		delete(s.sources, step.Service)
	}
}
