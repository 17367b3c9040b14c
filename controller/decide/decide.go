package decide

import (
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Decision is all that follows from a snapshot.
type Decision struct {
	// Services that the controller serves, ordered by namespace and name.
	Services []v1.ControllerService
	// Frontends of those that are served, by namespace/name.
	Frontends map[string][]v1.Frontend
	// Moved has the Services whose address took the place of another one, by
	// namespace/name, with which ones and why.
	Moved map[string]string
	// Nodes that run weir, load balancers first, then by address.
	Nodes []Node
	// Zoned names the Nodes with LabelZone, in order.
	Zoned []string
	// Pools with their use.
	Pools []v1.ControllerPool
	// Memory for the next decision.
	Memory controller.Memory
}

// Node is a node that runs weir and its state. The state's generation is left
// zero: only who sends states knows which ones differ.
type Node struct {
	Instance
	// Active says that the node has rank 0 for at least one address.
	Active bool
	State  v1.NodeState
}

// Decide is the controller's whole judgement. A service that cannot be served
// gets a condition that says why and what to do, has no part in any node's
// state, and keeps the others from nothing.
func Decide(snap controller.Snapshot, cfg controller.Config, last controller.Memory) Decision {
	services := readServices(snap.Services, cfg)
	ofNodes := nodeAddresses(snap.Nodes)
	held := assign(services, snap.Incomplete, ofNodes, cfg, last)
	lbs, peers := instances(snap.Slices, cfg.Namespaces)
	standBack(lbs, snap.Nodes)
	resolve(services, newCluster(snap, lbs))
	markKept(services, held)

	order := seniority(lbs, last.LBs)
	vips := servedVIPs(services)
	ranks := rank(vips, lbs, order, cfg.SetRoles)

	d := Decision{Frontends: frontendsByService(services)}
	frontends := collectFrontends(services)
	for _, n := range lbs {
		node := Node{Instance: n, State: v1.NodeState{
			Services: frontends, BGP: mesh(n, lbs, peers, cfg), Roles: ranks.of(n.Address), Drained: n.Drained,
		}}
		node.Active = slices.ContainsFunc(node.State.Roles, func(r v1.Role) bool { return r.Rank == 0 })
		d.Nodes = append(d.Nodes, node)
	}
	for _, n := range peers {
		d.Nodes = append(d.Nodes, Node{Instance: n, State: v1.NodeState{BGP: mesh(n, lbs, peers, cfg)}})
	}
	d.Services = report(services, held, ranks, lbs)
	d.Moved = moved(services)
	d.Zoned = zoned(snap.Nodes)
	d.Pools = usage(cfg.Pools, held, ofNodes)
	d.Memory = controller.Memory{Addresses: held, LBs: order}
	return d
}

// collectFrontends lists what every load balancer node serves, ordered by frontend.
func collectFrontends(services []*service) []v1.Service {
	out := make([]v1.Service, 0, len(services))
	for _, s := range services {
		if s.served() {
			out = append(out, s.frontends...)
		}
	}
	slices.SortFunc(out, func(a, b v1.Service) int { return a.Frontend.Compare(b.Frontend) })
	return out
}

// frontendsByService lists those of each service that is served.
func frontendsByService(services []*service) map[string][]v1.Frontend {
	by := make(map[string][]v1.Frontend, len(services))
	for _, s := range services {
		for _, f := range s.frontends {
			if s.served() {
				by[s.key] = append(by[s.key], f.Frontend)
			}
		}
	}
	return by
}

// servedVIPs lists the addresses that at least one service is served on.
func servedVIPs(services []*service) []netip.Addr {
	var vips []netip.Addr
	for _, s := range services {
		if s.served() {
			vips = append(vips, s.vip())
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	return slices.Compact(vips)
}
