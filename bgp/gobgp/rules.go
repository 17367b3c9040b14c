package gobgp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/osrg/gobgp/v4/api"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// Names that `gobgp global policy` shows. The first two are LoxiLB's, which
// people and scripts know. The others stand beside it only where there is
// something to refuse or to prepend, so that a worker, and the export of an
// active LB node, look as they always did.
const (
	nextHopSelfPolicy    = "set-next-hop-self-gpolicy"
	nextHopSelfStatement = "set-next-hop-self-gstmt"

	refusePolicy    = "refuse-lb-vips-gpolicy"
	refuseStatement = "refuse-lb-vips-gstmt"
	refusePrefixes  = "vips"
	refuseNeighbors = "lb-nodes"

	workersPolicy    = "refuse-workers-gpolicy"
	workersStatement = "refuse-workers-gstmt"
	workersNeighbors = "workers"

	prependPolicy    = "prepend-standby-gpolicy"
	prependStatement = "prepend-standby-%d-gstmt"
	prependPrefixes  = "standby-%d"
	prependNeighbors = "external"
)

// rules are everything that policy has to know, as plain values, so that two
// of them can be compared.
type rules struct {
	asn         uint32
	nextHopSelf bool
	// refuse from lbs. Both or none: GoBGP takes an empty set as "any".
	refuse []netip.Prefix
	lbs    []netip.Addr
	// workers bring nothing.
	workers []netip.Addr
	// guard is what external peers may not bring, accept all that they may;
	// nil for no such bound. Neither without guarded.
	guard, accept []netip.Prefix
	guarded       []netip.Addr
	// prepend towards external. Both or none.
	prepend  []prepended
	external []netip.Addr
}

// prepended are the prefixes whose AS path gets our AS times more often.
type prepended struct {
	times    int
	prefixes []netip.Prefix
}

func rulesOf(asn uint32, p bgp.Policy, peers map[netip.Addr]bgp.Peer, ads map[netip.Prefix]v1.Advertisement) rules {
	r := rules{asn: asn, nextHopSelf: p.NextHopSelf}
	if lbs := withRole(peers, v1.PeerLB); len(lbs) > 0 && len(p.RefuseFromLB) > 0 {
		r.lbs = lbs
		r.refuse = slices.SortedFunc(slices.Values(p.RefuseFromLB), netip.Prefix.Compare)
	}
	if p.RefuseFromWorkers {
		r.workers = withRole(peers, v1.PeerWorker)
	}
	external := withRole(peers, v1.PeerExternal)
	r.setGuard(p, external)
	byTimes := make(map[int][]netip.Prefix)
	for prefix, ad := range ads {
		if ad.Prepend > 0 {
			byTimes[ad.Prepend] = append(byTimes[ad.Prepend], prefix)
		}
	}
	if len(byTimes) == 0 || len(external) == 0 {
		return r
	}
	r.external = external
	for _, times := range slices.Sorted(maps.Keys(byTimes)) {
		slices.SortFunc(byTimes[times], netip.Prefix.Compare)
		r.prepend = append(r.prepend, prepended{times, byTimes[times]})
	}
	return r
}

func withRole(peers map[netip.Addr]bgp.Peer, role v1.PeerRole) []netip.Addr {
	var out []netip.Addr
	for addr, p := range peers {
		if p.Role == role {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// imports and exports name the policies in the order in which they apply.
func (r rules) imports() []string {
	var names []string
	if len(r.refuse) > 0 {
		names = append(names, refusePolicy)
	}
	if len(r.workers) > 0 {
		names = append(names, workersPolicy)
	}
	if len(r.guarded) > 0 {
		names = append(names, guardPolicy)
	}
	return names
}

func (r rules) exports() []string {
	var names []string
	if r.nextHopSelf {
		names = append(names, nextHopSelfPolicy)
	}
	if len(r.prepend) > 0 {
		names = append(names, prependPolicy)
	}
	return names
}

// api returns the rules in GoBGP's words. A statement without a route action
// lets the next one decide; the default at the end is to accept.
func (r rules) api() *api.SetPoliciesRequest {
	req := &api.SetPoliciesRequest{}
	if r.nextHopSelf {
		req.Policies = append(req.Policies, &api.Policy{Name: nextHopSelfPolicy, Statements: []*api.Statement{{
			Name:       nextHopSelfStatement,
			Conditions: &api.Conditions{},
			Actions:    &api.Actions{Nexthop: &api.NexthopAction{Self: true}},
		}}})
	}
	if len(r.refuse) > 0 {
		req.DefinedSets = append(req.DefinedSets,
			prefixSet(refusePrefixes, r.refuse), neighborSet(refuseNeighbors, r.lbs))
		req.Policies = append(req.Policies, &api.Policy{Name: refusePolicy, Statements: []*api.Statement{{
			Name:       refuseStatement,
			Conditions: conditions(refusePrefixes, refuseNeighbors),
			Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_REJECT},
		}}})
	}
	if len(r.workers) > 0 {
		req.DefinedSets = append(req.DefinedSets, neighborSet(workersNeighbors, r.workers))
		req.Policies = append(req.Policies, &api.Policy{Name: workersPolicy, Statements: []*api.Statement{
			refuseAll(workersStatement, workersNeighbors),
		}})
	}
	if len(r.guarded) > 0 {
		r.addGuard(req)
	}
	if len(r.prepend) > 0 {
		req.DefinedSets = append(req.DefinedSets, neighborSet(prependNeighbors, r.external))
		policy := &api.Policy{Name: prependPolicy}
		for _, p := range r.prepend {
			set := fmt.Sprintf(prependPrefixes, p.times)
			req.DefinedSets = append(req.DefinedSets, prefixSet(set, p.prefixes))
			policy.Statements = append(policy.Statements, &api.Statement{
				Name:       fmt.Sprintf(prependStatement, p.times),
				Conditions: conditions(set, prependNeighbors),
				Actions:    &api.Actions{AsPrepend: &api.AsPrependAction{Asn: r.asn, Repeat: uint32(p.times)}},
			})
		}
		req.Policies = append(req.Policies, policy)
	}
	return req
}

func conditions(prefixes, neighbors string) *api.Conditions {
	return &api.Conditions{
		PrefixSet:   &api.MatchSet{Name: prefixes, Type: api.MatchSet_TYPE_ANY},
		NeighborSet: &api.MatchSet{Name: neighbors, Type: api.MatchSet_TYPE_ANY},
	}
}

// refuseAll is a statement that takes nothing from neighbors.
func refuseAll(name, neighbors string) *api.Statement {
	return &api.Statement{
		Name:       name,
		Conditions: &api.Conditions{NeighborSet: &api.MatchSet{Name: neighbors, Type: api.MatchSet_TYPE_ANY}},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_REJECT},
	}
}

// prefixSet matches the prefixes and everything inside them.
func prefixSet(name string, prefixes []netip.Prefix) *api.DefinedSet {
	set := &api.DefinedSet{Name: name, DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX}
	for _, p := range prefixes {
		set.Prefixes = append(set.Prefixes, &api.Prefix{
			IpPrefix:      p.String(),
			MaskLengthMin: uint32(p.Bits()),
			MaskLengthMax: uint32(p.Addr().BitLen()),
		})
	}
	return set
}

func neighborSet(name string, addrs []netip.Addr) *api.DefinedSet {
	set := &api.DefinedSet{Name: name, DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR}
	for _, a := range addrs {
		set.List = append(set.List, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return set
}

// SetPolicy implements bgp.Speaker.
func (s *Speaker) SetPolicy(ctx context.Context, p bgp.Policy) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return fmt.Errorf("set BGP policy: %w", errNotStarted)
	}
	if err := s.run.applyRules(ctx, rulesOf(s.run.global.ASN, p, s.run.peers, s.run.ads)); err != nil {
		return err
	}
	p.RefuseFromLB = slices.Clone(p.RefuseFromLB)
	p.RefuseFromExternal, p.AcceptFromExternal = slices.Clone(p.RefuseFromExternal), slices.Clone(p.AcceptFromExternal)
	s.run.policy = p
	return nil
}

// applyRules brings GoBGP's policies to want, and has the paths that passed
// another policy pass this one.
func (r *run) applyRules(ctx context.Context, want rules) error {
	old := r.rules
	if reflect.DeepEqual(old, want) {
		return nil
	}
	// SetPolicies replaces all sets and policies at once, and what is assigned
	// stays so. A policy that goes must not be assigned any more by then, one
	// that comes can be assigned only after.
	staying := func(old, want []string) []string {
		return slices.DeleteFunc(slices.Clone(old), func(n string) bool { return !slices.Contains(want, n) })
	}
	if err := r.assign(ctx, staying(old.imports(), want.imports()), staying(old.exports(), want.exports())); err != nil {
		return err
	}
	if err := r.server.SetPolicies(ctx, want.api()); err != nil {
		return fmt.Errorf("set BGP policies: %w", err)
	}
	if err := r.assign(ctx, want.imports(), want.exports()); err != nil {
		return err
	}
	r.rules = want
	return r.refresh(ctx, old, want)
}

func (r *run) assign(ctx context.Context, imports, exports []string) error {
	for _, a := range []*api.PolicyAssignment{
		{Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT, Policies: named(imports)},
		{Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT, Policies: named(exports)},
	} {
		a.Name, a.DefaultAction = "global", api.RouteAction_ROUTE_ACTION_ACCEPT
		if err := r.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
			return fmt.Errorf("assign BGP policies: %w", err)
		}
	}
	return nil
}

func named(names []string) []*api.Policy {
	var out []*api.Policy
	for _, n := range names {
		out = append(out, &api.Policy{Name: n})
	}
	return out
}

// refresh re-evaluates paths without resetting a session. Prepending needs
// none: SetAdvertisements announces what changed, and a peer that becomes
// external is refreshed by SetPeers.
func (r *run) refresh(ctx context.Context, old, want rules) error {
	if old.nextHopSelf != want.nextHopSelf && len(r.peers) > 0 {
		err := r.reset(ctx, &api.ResetPeerRequest{
			Address: "all", Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
		})
		if err != nil {
			return err
		}
	}
	if !slices.Equal(old.refuse, want.refuse) {
		if err := r.reread(ctx, v1.PeerLB); err != nil {
			return err
		}
	}
	// One of several workers that comes or goes concerns no other.
	if (len(old.workers) > 0) != (len(want.workers) > 0) {
		if err := r.reread(ctx, v1.PeerWorker); err != nil {
			return err
		}
	}
	if !slices.Equal(old.guard, want.guard) || !reflect.DeepEqual(old.accept, want.accept) {
		return r.reread(ctx, v1.PeerExternal)
	}
	return nil
}

// reread has what the peers of a role brought pass the import policy again.
func (r *run) reread(ctx context.Context, role v1.PeerRole) error {
	for _, addr := range withRole(r.peers, role) {
		err := r.reset(ctx, &api.ResetPeerRequest{
			Address: addr.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_IN,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
