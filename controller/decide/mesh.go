package decide

import (
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// maxMeshedPeers is up to how many peers (weir --peer) have sessions with each
// other. Sessions grow with the square; beyond it peers talk to the load
// balancer nodes alone, from which they learn every service address anyway.
const maxMeshedPeers = 16

// bgpPort is where BGP speakers listen unless told otherwise (RFC 4271).
const bgpPort = 179

// mesh is the speaker's configuration of one node, nil without BGP. As in the
// article a load balancer node has sessions with the external routers, the
// other load balancers and all peers; a peer has them with all load balancers
// and the other peers.
func mesh(self Instance, lbs, peers []Instance, cfg controller.Config) *v1.BGP {
	if cfg.BGP == nil {
		return nil
	}
	out := &v1.BGP{ASN: cfg.BGP.ASN, RouterID: self.Address, HoldTime: cfg.BGP.HoldTime}
	if cfg.BGP.ListenPort != bgpPort {
		out.ListenPort = cfg.BGP.ListenPort
	}
	taken := map[netip.Addr]bool{self.Address: true}
	add := func(p v1.Peer) {
		if !taken[p.Address] {
			taken[p.Address] = true
			out.Peers = append(out.Peers, p)
		}
	}
	inner := func(nodes []Instance, role v1.PeerRole) {
		for _, n := range nodes {
			add(v1.Peer{Address: n.Address, ASN: cfg.BGP.ASN, Port: out.ListenPort, Role: role})
		}
	}
	inner(lbs, v1.PeerLB)
	if self.Role == v1.NodeLB || len(peers) <= maxMeshedPeers {
		inner(peers, v1.PeerWorker)
	}
	for _, p := range cfg.Pools {
		// Sessions carry IPv4 alone, and a node's filter takes one family.
		out.VIPs = append(out.VIPs, p.Family(false).Prefixes()...)
	}
	if self.Role == v1.NodeLB {
		out.NextHopSelf, out.Accept = true, cfg.BGP.Accept
		for _, e := range cfg.BGP.External {
			add(v1.Peer{
				Address: e.Address, ASN: e.ASN, Role: v1.PeerExternal, Password: e.Password,
				MultiHop: cfg.BGP.MultiHop, TTLSecurity: cfg.BGP.TTLSecurity, MaxPrefixes: cfg.BGP.MaxPrefixes,
			})
		}
	}
	slices.SortFunc(out.Peers, func(a, b v1.Peer) int { return a.Address.Compare(b.Address) })
	return out
}
