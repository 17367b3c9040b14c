package gobgp

import (
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"

	"github.com/weir-lb/weir/bgp"
)

// Names of the import policy that stands between the cluster and the routers
// outside of it.
const (
	guardPolicy     = "guard-external-gpolicy"
	guardStatement  = "refuse-external-gstmt"
	guardPrefixes   = "protected"
	acceptStatement = "accept-external-gstmt"
	acceptPrefixes  = "accepted"
	restStatement   = "refuse-rest-gstmt"
	guardNeighbors  = "routers"
)

// setGuard takes from p what external peers may bring. Without external peers
// there is no guard: GoBGP takes an empty set as "any".
func (r *rules) setGuard(p bgp.Policy, external []netip.Addr) {
	if len(external) == 0 || len(p.RefuseFromExternal) == 0 && p.AcceptFromExternal == nil {
		return
	}
	r.guarded = external
	r.guard = slices.SortedFunc(slices.Values(p.RefuseFromExternal), netip.Prefix.Compare)
	if p.AcceptFromExternal != nil {
		r.accept = append([]netip.Prefix{}, p.AcceptFromExternal...)
		slices.SortFunc(r.accept, netip.Prefix.Compare)
	}
}

// addGuard refuses what external peers may not bring: what is protected, and
// what is not accepted. A statement that accepts ends the policy, so that the
// last one refuses the rest.
func (r rules) addGuard(req *api.SetPoliciesRequest) {
	req.DefinedSets = append(req.DefinedSets, neighborSet(guardNeighbors, r.guarded))
	policy := &api.Policy{Name: guardPolicy}
	add := func(name, set string, prefixes []netip.Prefix, action api.RouteAction) {
		if len(prefixes) == 0 {
			return // GoBGP takes an empty set as any
		}
		req.DefinedSets = append(req.DefinedSets, prefixSet(set, prefixes))
		policy.Statements = append(policy.Statements, &api.Statement{
			Name: name, Conditions: conditions(set, guardNeighbors), Actions: &api.Actions{RouteAction: action},
		})
	}
	add(guardStatement, guardPrefixes, r.guard, api.RouteAction_ROUTE_ACTION_REJECT)
	if r.accept != nil {
		add(acceptStatement, acceptPrefixes, r.accept, api.RouteAction_ROUTE_ACTION_ACCEPT)
		policy.Statements = append(policy.Statements, refuseAll(restStatement, guardNeighbors))
	}
	req.Policies = append(req.Policies, policy)
}
