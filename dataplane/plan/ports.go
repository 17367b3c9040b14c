package plan

import (
	v1 "github.com/weir-lb/weir/api/v1"
)

// Source ports that the dataplane may give to a flow. Below 1024 are the
// system ports (RFC 6335 section 6), which servers treat in their own way.
const (
	firstPort = 1024
	lastPort  = 65535
)

// vipFor turns this node's role into the VIP's map element. Ports are divided
// into as many equal slices as nodes hold a rank; the slice of a rank is its
// own, so that flows which two nodes create at the same time cannot meet at a
// backend. A VIP without a role is served by this node alone: it is active
// and has all ports, which is what a setup without BGP needs.
func vipFor(role v1.Role, known bool) VIP {
	if !known || role.Nodes < 1 || role.Rank < 0 || role.Rank >= role.Nodes {
		role = v1.Role{Rank: 0, Nodes: 1}
	}
	size := (lastPort - firstPort + 1) / role.Nodes
	first := firstPort + role.Rank*size
	return VIP{
		Active: role.Rank == 0,
		Ports:  PortRange{Min: uint16(first), Max: uint16(first + size - 1)},
	}
}
