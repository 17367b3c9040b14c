package agent

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Reasons of the conditions that the agent itself sets.
const (
	ReasonInvalid       = "Invalid"        // The service breaks a rule of the API; mend the field that the message names.
	ReasonDuplicate     = "Duplicate"      // One owner gives the frontend twice; remove one.
	ReasonClaimed       = "ClaimedByOther" // The frontend, or the BGP configuration, belongs to another owner; remove it there first.
	ReasonPeerNode      = "PeerNode"       // The node is a BGP peer and forwards nothing; send services to load balancer nodes.
	ReasonBGPDisabled   = "BGPDisabled"    // BGP is configured but off on this node; start weir with --bgp.
	ReasonPending       = "Pending"        // Not applied yet; wait.
	ReasonApplyFailed   = "ApplyFailed"    // The last attempt to apply it failed and is made again; the message says why.
	ReasonUnreadable    = "Unreadable"     // A part of the node cannot say how it is; the message says why.
	ReasonNoLiveBackend = "NoLiveBackend"  // The address is withdrawn, for no service on it has a live backend; mend the backends.
	ReasonNotSaved      = "NotSaved"       // A restart would forget the newest changes; make room, or mend --state-dir.
)

// Desired is the merge of all owners. It is shared: do not change it.
type Desired struct {
	// Services holds each frontend once, ordered by frontend.
	Services []v1.Service
	// Owners names the owner of each frontend in Services.
	Owners map[v1.Frontend]string
	// Refused are the services that are in nobody's way and yet not to be
	// programmed, each with a condition that says why.
	Refused []v1.ServiceStatus
	BGP     *v1.BGP
	// Roles holds each VIP once, ordered by VIP.
	Roles []v1.Role
	// Drained is v1.NodeState.Drained.
	Drained bool
	// Conditions concern the node as a whole.
	Conditions []v1.Condition
	// Generations says which state of each owner is in it.
	Generations map[string]v1.Generation
}

// Claims remembers who asked first for what only one owner can have.
type Claims struct {
	frontends queue[v1.Frontend]
	vips      queue[netip.Addr]
	bgp       queue[struct{}]
}

// queue lists for each key the owners that claim it, first come first. Who
// stands first has it.
type queue[K comparable] map[K][]string

// advance returns the queue after the owners' wants changed: who no longer
// wants a key leaves, who newly wants it goes to the end, in order of name.
func (q queue[K]) advance(wants map[string]map[K]struct{}) queue[K] {
	next := make(queue[K], len(q))
	for k, owners := range q {
		for _, o := range owners {
			if _, ok := wants[o][k]; ok {
				next[k] = append(next[k], o)
			}
		}
	}
	for _, o := range slices.Sorted(maps.Keys(wants)) {
		for k := range wants[o] {
			if !slices.Contains(next[k], o) {
				next[k] = append(next[k], o)
			}
		}
	}
	return next
}

// Merge joins the states of all owners. What two owners claim stays with the
// one that had it first, by prev, and the other gets a condition; so the
// result does not depend on the order in which states are sent again. The
// returned Claims are prev of the next merge.
func Merge(states map[string]v1.NodeState, prev Claims) (Desired, Claims) {
	d := Desired{
		Owners:      map[v1.Frontend]string{},
		Generations: make(map[string]v1.Generation, len(states)),
	}
	owners := slices.Sorted(maps.Keys(states))
	valid := make(map[string][]v1.Service, len(states))
	for _, o := range owners {
		d.Generations[o] = states[o].Generation
		d.Drained = d.Drained || states[o].Drained
		var refused []v1.ServiceStatus
		valid[o], refused = sift(o, states[o].Services)
		d.Refused = append(d.Refused, refused...)
	}
	next := Claims{
		frontends: prev.frontends.advance(wants(valid, v1Frontend)),
		vips:      prev.vips.advance(wants(rolesOf(states), func(r v1.Role) netip.Addr { return r.VIP })),
		bgp:       prev.bgp.advance(wants(bgpOf(states), func(*v1.BGP) struct{} { return struct{}{} })),
	}
	for _, o := range owners {
		d.addServices(o, valid[o], next.frontends)
		d.addRoles(o, states[o].Roles, next.vips)
		d.addBGP(o, states[o].BGP, next.bgp)
	}
	slices.SortFunc(d.Services, func(a, b v1.Service) int { return a.Frontend.Compare(b.Frontend) })
	slices.SortFunc(d.Roles, func(a, b v1.Role) int { return a.VIP.Compare(b.VIP) })
	slices.SortStableFunc(d.Refused, func(a, b v1.ServiceStatus) int {
		return cmp.Or(a.Frontend.Compare(b.Frontend), cmp.Compare(a.Owner, b.Owner))
	})
	return d, next
}

func v1Frontend(s v1.Service) v1.Frontend { return s.Frontend }

// wants turns each owner's items into the set of their keys.
func wants[T any, K comparable](items map[string][]T, key func(T) K) map[string]map[K]struct{} {
	sets := make(map[string]map[K]struct{}, len(items))
	for o, list := range items {
		set := make(map[K]struct{}, len(list))
		for _, item := range list {
			set[key(item)] = struct{}{}
		}
		sets[o] = set
	}
	return sets
}

func rolesOf(states map[string]v1.NodeState) map[string][]v1.Role {
	roles := make(map[string][]v1.Role, len(states))
	for o, s := range states {
		roles[o] = s.Roles
	}
	return roles
}

func bgpOf(states map[string]v1.NodeState) map[string][]*v1.BGP {
	bgp := make(map[string][]*v1.BGP, len(states))
	for o, s := range states {
		if s.BGP != nil {
			bgp[o] = []*v1.BGP{s.BGP}
		}
	}
	return bgp
}

// sift parts an owner's services into those that can be and those that
// cannot. Of two with one frontend the first can be.
func sift(owner string, services []v1.Service) (valid []v1.Service, refused []v1.ServiceStatus) {
	seen := make(map[v1.Frontend]int, len(services))
	for i, s := range services {
		if err := v1.ValidateService(s); err != nil {
			refused = append(refused, refuse(owner, s, ReasonInvalid, fmt.Sprintf("services[%d].%v", i, err)))
			continue
		}
		if j, ok := seen[s.Frontend]; ok {
			refused = append(refused, refuse(owner, s, ReasonDuplicate,
				fmt.Sprintf("services[%d]: %s is services[%d] already; remove one", i, s.Frontend, j)))
			continue
		}
		seen[s.Frontend] = i
		valid = append(valid, s)
	}
	return valid, refused
}

func refuse(owner string, s v1.Service, reason, message string) v1.ServiceStatus {
	return v1.ServiceStatus{Service: s, Owner: owner, Conditions: []v1.Condition{{
		Type: v1.ConditionAccepted, Reason: reason, Message: message,
	}}}
}

func (d *Desired) addServices(owner string, services []v1.Service, q queue[v1.Frontend]) {
	for _, s := range services {
		holder := q[s.Frontend][0]
		if holder != owner {
			d.Refused = append(d.Refused, refuse(owner, s, ReasonClaimed,
				fmt.Sprintf("%s belongs to owner %s; remove it there first", s.Frontend, holder)))
			continue
		}
		d.Services = append(d.Services, s)
		d.Owners[s.Frontend] = owner
	}
}

func (d *Desired) addRoles(owner string, roles []v1.Role, q queue[netip.Addr]) {
	for _, r := range roles {
		if holder := q[r.VIP][0]; holder != owner {
			d.deny(fmt.Sprintf("role for %s of owner %s is not used: owner %s gave one first", r.VIP, owner, holder))
			continue
		}
		d.Roles = append(d.Roles, r)
	}
}

func (d *Desired) addBGP(owner string, bgp *v1.BGP, q queue[struct{}]) {
	if bgp == nil {
		return
	}
	if holder := q[struct{}{}][0]; holder != owner {
		d.deny(fmt.Sprintf("bgp of owner %s is not used: owner %s configured BGP first", owner, holder))
		return
	}
	d.BGP = bgp
}

func (d *Desired) deny(message string) {
	d.Conditions = append(d.Conditions, v1.Condition{
		Type: v1.ConditionAccepted, Reason: ReasonClaimed, Message: message,
	})
}
