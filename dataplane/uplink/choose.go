// Package uplink keeps a host route for each VIP by which this node and its pods
// are clients of the VIP too: `VIP dev UPLINK src NODE`, with a permanent
// neighbour that nobody has. No interface has a VIP, so without it the kernel
// would take a node's own packets elsewhere, or ask ARP; by it they come to the
// egress program, which balances them. Routes outlive the process, as programs
// do.
package uplink

import (
	"net/netip"
	"slices"
)

// Port is an interface of the node.
type Port struct {
	Index int
	Name  string
	MAC   [6]byte
	// Addresses are its IPv4 addresses, the first one first.
	Addresses []netip.Addr
}

// Way is how this node reaches a backend.
type Way struct {
	// Device is the index of the interface that packets leave by.
	Device int
	// Source is this node's address towards the backend.
	Source netip.Addr
}

// Route is where a VIP's packets leave, and with which source.
type Route struct {
	Port   Port
	Source netip.Addr
}

// Choose returns the uplink of a VIP: of the ports, all of which have the egress
// program, the one by which its backends are reached, because the answers of
// those come in there and reverse path filters ask for that. Where backends are
// behind an overlay it is the port below, and else the first port with an address.
// False: no port has one.
func Choose(ways []Way, ports []Port) (Route, bool) {
	for _, w := range ways {
		i := slices.IndexFunc(ports, func(p Port) bool { return p.Index == w.Device && len(p.Addresses) > 0 })
		if i < 0 {
			i = slices.IndexFunc(ports, func(p Port) bool { return slices.Contains(p.Addresses, w.Source) })
		}
		if i < 0 {
			continue
		}
		r := Route{Port: ports[i], Source: w.Source}
		if !slices.Contains(ports[i].Addresses, w.Source) {
			r.Source = ports[i].Addresses[0]
		}
		return r, true
	}
	for _, p := range ports {
		if len(p.Addresses) > 0 {
			return Route{Port: p, Source: p.Addresses[0]}, true
		}
	}
	return Route{}, false
}
