// Package decide turns the desired state of a node into what its BGP speaker
// is told. It is pure: no context, clock, log or I/O.
package decide

import (
	"cmp"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// Kind tells what a node is.
type Kind int

const (
	// LB is a node with a dataplane: it originates the service addresses.
	LB Kind = iota
	// Peer is a node with backends (weir --peer): it only learns where the
	// service addresses live.
	Peer
)

// Rank r announces LOCAL_PREF 1000-10r and MED 10r. Steps of
// ten leave room for a path between two ranks.
const (
	topLocalPref = 1000
	rankStep     = 10
)

// Config returns what the speaker of a node of the given kind is told. The
// arguments are not changed; the result shares no memory with them and is the
// same for any order of services, roles and peers.
func Config(kind Kind, cfg v1.BGP, services []v1.Service, roles []v1.Role) bgp.Config {
	c := bgp.Config{
		Global: bgp.Global{
			ASN:        cfg.ASN,
			RouterID:   cfg.RouterID,
			ListenPort: cmp.Or(cfg.ListenPort, bgp.DefaultPort),
		},
		Policy: bgp.Policy{NextHopSelf: cfg.NextHopSelf},
		Peers:  peers(kind, cfg),
	}
	if kind == LB {
		// The best path of a standby would else be the active node's, by its
		// LOCAL_PREF. The standby would re-export that one, without MED, as
		// MED does not cross an AS, and clients would prefer the standby.
		c.Policy.RefuseFromLB = prefixes(cfg.VIPs)
		// Workers announce nothing. What says so in a worker's name, as a pod
		// behind its address could, would go on to the routers.
		c.Policy.RefuseFromWorkers = true
		// What an external peer says goes on to all nodes. Where service
		// addresses and nodes are, none of them decides.
		c.Policy.RefuseFromExternal = prefixes(slices.Concat(cfg.VIPs, nodes(cfg)))
		if cfg.Accept != nil {
			c.Policy.AcceptFromExternal = prefixes(cfg.Accept)
		}
		c.Advertisements = advertisements(services, roles)
	}
	return c
}

func peers(kind Kind, cfg v1.BGP) []bgp.Peer {
	out := make([]bgp.Peer, 0, len(cfg.Peers))
	for _, p := range cfg.Peers {
		out = append(out, bgp.Peer{
			Address:  p.Address,
			ASN:      p.ASN,
			Port:     cmp.Or(p.Port, bgp.DefaultPort),
			Role:     p.Role,
			MultiHop: p.MultiHop,
			Passive:  passive(kind, cfg.RouterID, p),
			HoldTime: cmp.Or(cfg.HoldTime, v1.DefaultHoldTime),
			Password: p.Password,

			TTLSecurity: p.TTLSecurity,
			MaxPrefixes: maxPrefixes(p),
		})
	}
	slices.SortFunc(out, func(a, b bgp.Peer) int { return a.Address.Compare(b.Address) })
	return out
}

// maxPrefixes bounds external peers. The cluster's own nodes bring what these
// brought, and the VIPs.
func maxPrefixes(p v1.Peer) uint32 {
	if p.Role != v1.PeerExternal {
		return 0
	}
	return cmp.Or(p.MaxPrefixes, v1.DefaultMaxPrefixes)
}

// nodes are the addresses of this node and of all others in the mesh, each as
// a prefix.
func nodes(cfg v1.BGP) []netip.Prefix {
	out := []netip.Prefix{netip.PrefixFrom(cfg.RouterID, cfg.RouterID.BitLen())}
	for _, p := range cfg.Peers {
		if p.Role != v1.PeerExternal {
			out = append(out, netip.PrefixFrom(p.Address, p.Address.BitLen()))
		}
	}
	return out
}

// passive has one side of every session inside the mesh wait for the other.
// When both dial at once, GoBGP's two ends may each keep another connection,
// and the session needs ten seconds more. Workers dial LB nodes, which know
// all of them by their role; between equals the higher address dials. That
// one needs the router ID to be the address that peers know the node by.
func passive(kind Kind, self netip.Addr, p v1.Peer) bool {
	switch {
	case p.Role == v1.PeerExternal:
		return false // nobody knows how the other side is set
	case kind == LB && p.Role == v1.PeerWorker:
		return true
	case kind == Peer && p.Role == v1.PeerLB:
		return false
	}
	return self.Compare(p.Address) < 0
}

// prefixes returns in sorted and without duplicates, host bits cleared.
func prefixes(in []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(in))
	for _, p := range in {
		out = append(out, p.Masked())
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

// advertisements returns one host prefix for each VIP that has a service and
// a role. Backends do not matter: a VIP whose last backend died is still
// announced, so that clients get a refusal at once and not a time-out.
func advertisements(services []v1.Service, roles []v1.Role) []v1.Advertisement {
	rank := ranks(roles)
	seen := make(map[netip.Addr]bool)
	var out []v1.Advertisement
	for _, s := range services {
		r, ok := rank[s.VIP]
		if !ok || seen[s.VIP] {
			continue
		}
		seen[s.VIP] = true
		out = append(out, Advertisement(s.VIP, r))
	}
	slices.SortFunc(out, func(a, b v1.Advertisement) int { return a.Prefix.Compare(b.Prefix) })
	return out
}

// ranks maps VIPs to ranks. Should a VIP occur twice, the weaker rank wins:
// two standbys cost nothing, two active nodes split the traffic.
func ranks(roles []v1.Role) map[netip.Addr]int {
	m := make(map[netip.Addr]int, len(roles))
	for _, r := range roles {
		if old, ok := m[r.VIP]; !ok || r.Rank > old {
			m[r.VIP] = r.Rank
		}
	}
	return m
}

// Advertisement is how a node of the given rank announces vip. LOCAL_PREF
// decides inside the AS. Outside, MED decides, and only between paths from
// one AS; the AS path, which counts before MED, decides in all others.
func Advertisement(vip netip.Addr, rank int) v1.Advertisement {
	return v1.Advertisement{
		Prefix:    netip.PrefixFrom(vip, vip.BitLen()),
		LocalPref: uint32(topLocalPref - rankStep*rank),
		MED:       uint32(rankStep * rank),
		Prepend:   rank,
	}
}
