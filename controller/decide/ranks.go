package decide

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// maxRanked is how many nodes may hold a rank for one address; more serve it
// unannounced (v1.ValidateState).
const maxRanked = 64

// rankTable is the order of the nodes for each address, the active one first.
type rankTable map[netip.Addr][]netip.Addr

// seniority orders the load balancer nodes: ready ones first, then those that
// were there before in the order they had, then newcomers by address. So a
// node that comes back stands last and takes nothing from the active one.
func seniority(lbs []Instance, last []netip.Addr) []netip.Addr {
	sorted := slices.Clone(lbs)
	place := func(a netip.Addr) int {
		if i := slices.Index(last, a); i >= 0 {
			return i
		}
		return len(last)
	}
	slices.SortFunc(sorted, func(a, b Instance) int {
		return cmp.Or(readyFirst(a, b), cmp.Compare(place(a.Address), place(b.Address)), a.Address.Compare(b.Address))
	})
	out := make([]netip.Addr, len(sorted))
	for i, n := range sorted {
		out[i] = n.Address
	}
	return out
}

func readyFirst(a, b Instance) int {
	switch {
	case a.Ready == b.Ready:
		return 0
	case a.Ready:
		return -1
	}
	return 1
}

// rank orders the nodes for each address: all alike where one node is to be
// active for all, else by rendezvous hashing, which spreads the addresses and
// moves only those of a node that comes or goes.
func rank(vips []netip.Addr, lbs []Instance, order []netip.Addr, oneActive bool) rankTable {
	ranks := make(rankTable, len(vips))
	for _, vip := range vips {
		nodes := order
		if !oneActive {
			spread := slices.Clone(lbs)
			slices.SortFunc(spread, func(a, b Instance) int {
				return cmp.Or(readyFirst(a, b), cmp.Compare(score(vip, b.Address), score(vip, a.Address)), a.Address.Compare(b.Address))
			})
			nodes = make([]netip.Addr, len(spread))
			for i, n := range spread {
				nodes[i] = n.Address
			}
		}
		ranks[vip] = nodes[:min(len(nodes), maxRanked)]
	}
	return ranks
}

// score is how much a node wants an address.
func score(vip, node netip.Addr) uint64 {
	h := fnv.New64a()
	v, n := vip.As16(), node.As16()
	h.Write(v[:])
	h.Write(n[:])
	// FNV hardly mixes the last bytes into the high bits, which decide here;
	// this is the finalizer of splitmix64.
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// of lists the ranks of a node, ordered by address.
func (t rankTable) of(node netip.Addr) []v1.Role {
	var roles []v1.Role
	for vip, nodes := range t {
		if i := slices.Index(nodes, node); i >= 0 {
			roles = append(roles, v1.Role{VIP: vip, Rank: i, Nodes: len(nodes)})
		}
	}
	slices.SortFunc(roles, func(a, b v1.Role) int { return a.VIP.Compare(b.VIP) })
	return roles
}

// active is the node of rank 0, zero where there is none.
func (t rankTable) active(vip netip.Addr) netip.Addr {
	if nodes := t[vip]; len(nodes) > 0 {
		return nodes[0]
	}
	return netip.Addr{}
}
