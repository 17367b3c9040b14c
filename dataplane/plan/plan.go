package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Make returns the steps that take the maps from state to desired, as few as
// there are differences. It changes nothing; state follows by Commit as the
// steps are done. Equal input gives equal plans. now must come from the clock
// that Commit gets.
func Make(desired Desired, state *State, scan Scan, limits Limits, now time.Time) Plan {
	p := newPlanner(desired, state, limits, now)
	for _, i := range p.order() {
		if why := p.service(desired.Services[i]); why != nil {
			p.refuse(i, *why)
		}
	}
	p.putVIPs(desired.Roles, scan)
	p.remove()
	p.removeSources()
	p.retireLeft()
	p.release(scan)
	return Plan{Steps: p.steps, Refused: p.refused}
}

type planner struct {
	desired Desired
	state   *State
	limits  Limits
	now     time.Time

	regions  *regions
	services *ids
	backends *ids

	steps   []Step
	refused map[int]v1.Condition
	// wanted frontends occur in desired, refused or not.
	wanted map[v1.Frontend]bool
	// sources are what the planned services want, by their ids. sourceCount is how
	// many the maps have, or are about to.
	sources     map[uint32]map[netip.Prefix]bool
	sourceCount int
	// added counts the services that are new with this plan.
	added int
	// stoodOn are the VIPs of services that will be in the maps, occupied
	// are those and all that the maps have for services, or are about to have, anyway.
	stoodOn, occupied map[netip.Addr]bool
	// ousted are retired VIPs that give way.
	ousted map[netip.Addr]bool
}

func newPlanner(desired Desired, state *State, limits Limits, now time.Time) *planner {
	used := make([]Region, 0, len(state.services)+len(state.resting))
	serviceIDs := make(map[uint32]bool, len(state.services))
	for _, e := range state.services {
		used = append(used, e.Slots)
		serviceIDs[e.ID] = true
	}
	for _, r := range state.retiredServices {
		serviceIDs[r.id] = true
	}
	for id := range state.ghosts {
		serviceIDs[id] = true
	}
	occupied := make(map[netip.Addr]bool, len(state.vips))
	for _, address := range state.VIPs() {
		occupied[address] = true
	}
	for f := range state.services {
		occupied[f.VIP] = true
	}
	sources := 0
	for _, prefixes := range state.sources {
		sources += len(prefixes)
	}
	for _, r := range state.resting {
		if now.Sub(r.since) <= Grace {
			used = append(used, r.region)
		}
	}
	return &planner{
		desired: desired,
		state:   state,
		limits:  limits,
		now:     now,
		regions: newRegions(uint32(limits.Slots), used),
		services: &ids{
			limit: limits.Services, last: state.lastService, count: len(serviceIDs),
			used:  func(id uint32) bool { return serviceIDs[id] },
			given: map[uint32]bool{},
		},
		backends: &ids{
			limit: limits.Backends, last: state.lastBackend, count: len(state.backends),
			used:  func(id uint32) bool { _, used := state.backends[id]; return used },
			given: map[uint32]bool{},
		},
		sources:     map[uint32]map[netip.Prefix]bool{},
		sourceCount: sources,
		refused:     map[int]v1.Condition{},
		wanted:      map[v1.Frontend]bool{},
		stoodOn:     map[netip.Addr]bool{},
		ousted:      map[netip.Addr]bool{},
		occupied:    occupied,
	}
}

// order returns the indexes of the services that can be planned: those that
// the maps hold already first, so that a newcomer never takes their room,
// then by frontend.
func (p *planner) order() []int {
	var order []int
	for i, s := range p.desired.Services {
		if p.wanted[s.Frontend] {
			p.refuse(i, refusal{ReasonDuplicate, s.Frontend.String() + " is given twice; remove one"})
			continue
		}
		p.wanted[s.Frontend] = true
		if err := v1.ValidateService(s); err != nil {
			p.refuse(i, refusal{ReasonInvalid, err.Error()})
			continue
		}
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int {
		fa, fb := p.desired.Services[a].Frontend, p.desired.Services[b].Frontend
		_, hasA := p.state.services[fa]
		_, hasB := p.state.services[fb]
		if hasA != hasB {
			if hasA {
				return -1
			}
			return 1
		}
		return fa.Compare(fb)
	})
	return order
}

type refusal struct{ reason, message string }

func (p *planner) refuse(i int, why refusal) {
	p.refused[i] = v1.Condition{
		Type: v1.ConditionProgrammed, Status: false,
		Reason: why.reason, Message: why.message,
	}
}

// remove takes out services that are no longer desired, then retires VIPs that no
// service stands on.
func (p *planner) remove() {
	var gone []v1.Frontend
	for f := range p.state.services {
		if !p.wanted[f] {
			gone = append(gone, f)
		}
	}
	slices.SortFunc(gone, v1.Frontend.Compare)
	for _, f := range gone {
		p.steps = append(p.steps, DeleteService{Frontend: f})
		p.retire(f, p.state.services[f].slots, nil)
	}
	p.retireVIPs()
}

// release frees ids and VIPs that rested for Grace before the scan began and that no
// flow names. What this plan puts back to use stays.
func (p *planner) release(scan Scan) {
	taken, reused := p.taken()
	var backends []uint32
	for id, since := range p.state.retiredBackends {
		if scan.frees(since) && !scan.Backends[id] && !reused[id] {
			backends = append(backends, id)
		}
	}
	slices.Sort(backends)
	for _, id := range backends {
		p.steps = append(p.steps, DeleteBackend{ID: id})
	}
	var frontends []v1.Frontend
	for f, r := range p.state.retiredServices {
		if scan.frees(r.since) && !scan.Services[r.id] && !taken[f] {
			frontends = append(frontends, f)
		}
	}
	slices.SortFunc(frontends, v1.Frontend.Compare)
	for _, f := range frontends {
		p.steps = append(p.steps, ReleaseService{Frontend: f})
	}
	p.releaseVIPs(scan)
}

// taken returns the frontends that the plan writes, and the ids of their backends.
func (p *planner) taken() (map[v1.Frontend]bool, map[uint32]bool) {
	frontends, ids := map[v1.Frontend]bool{}, map[uint32]bool{}
	for _, step := range p.steps {
		if s, ok := step.(PutService); ok {
			frontends[s.Frontend] = true
			for _, id := range s.IDs {
				ids[id] = true
			}
		}
	}
	return frontends, ids
}

func exhausted(what string, limit int, then string) string {
	return fmt.Sprintf("all %d %s are taken; %s", limit, what, then)
}
