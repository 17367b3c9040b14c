// Package doctor judges a node: it says of facts what is well, what is not, and
// what to do. It is pure; package collect gathers the facts on the node.
package doctor

import (
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Facts are what is known of a node.
type Facts struct {
	Kernel string // uname -r
	// Lacking is what an LB node needs and the machine, or this process, does
	// not have.
	Lacking []Lack
	// Forwarding is net.ipv4.ip_forward.
	Forwarding bool
	// ClockSynchronised tells whether something keeps the clock right.
	ClockSynchronised bool

	Interfaces []Interface
	// Local are the prefixes whose packets the kernel takes for its own.
	Local []Local
	// Learned are the addresses that routes of BGP lead to: VIPs, known even
	// while weir does not run.
	Learned []netip.Addr

	// Observed is what weir says of itself; nil while it does not answer, and
	// Silence says why.
	Observed *v1.ObservedState
	Silence  string
	// Unseen says what could not be looked at, and why.
	Unseen []string
}

// Lack is one thing that is missing.
type Lack struct {
	// Of is the check that it belongs to: "rights", "kernel" or "forwarding".
	Of string
	// Seen is what is so, Do what to do.
	Seen, Do string
}

// Interface is a network interface of the node.
type Interface struct {
	Name string
	// Kind is the rtnetlink kind ("veth", "vxlan", ...), or the driver of a
	// physical device.
	Kind string
	Up   bool
	// MTU in bytes.
	MTU int
	// Programs are all that are attached, ours among them, those at one place in
	// the order in which they run.
	Programs []Program
	// Merges tells by feature whether received packets are merged: "gro", and
	// "lro", which the packets do not survive. A feature that cannot be asked
	// for is absent.
	Merges map[string]bool
	// Overlay is nil for what carries no packets inside others.
	Overlay *Overlay
}

// Overlay is what an overlay device has beyond others.
type Overlay struct {
	// Strict tells that the reverse path filter in force is 1; Own and All are
	// what it follows from.
	Strict   bool
	Own, All int
	// Overhead is how many bytes the outer headers take.
	Overhead int
	// Below is the interface that outer packets leave by, BelowMTU its MTU;
	// empty and zero where that is not known.
	Below    string
	BelowMTU int
}

// Program is a BPF program on an interface.
type Program struct {
	ID   uint32
	Name string
	// Where is "xdp", "tc ingress" or "tc egress".
	Where string
	// Ours tells that it is one of weir's.
	Ours bool
}

// Local is a prefix of the routing table "local".
type Local struct {
	Prefix    netip.Prefix
	Interface string
}

// peer tells whether weir only speaks BGP here; false also where that is not
// known.
func (f Facts) peer() bool { return f.Observed != nil && f.Observed.Mode == v1.NodePeer }

// hooked are the interfaces on which weir says it takes packets, by name.
func (f Facts) hooked() map[string]v1.Interface {
	all := map[string]v1.Interface{}
	if f.Observed == nil {
		return all
	}
	for _, i := range f.Observed.Interfaces {
		if i.Hook != "" && i.Hook != "none" {
			all[i.Name] = i
		}
	}
	return all
}
