package link

import "github.com/weir-lb/weir/topo/netns"

// Interface is one interface of a node, for what a scenario does to it.
type Interface struct {
	NS   *netns.NetNS
	Name string
}

// Down cuts the link: this end goes down, the other loses carrier.
func (i Interface) Down() error { return Down(i.NS, i.Name) }

// Up sets the interface up. Routes that went with Down do not come back by
// themselves, except those of the addresses.
func (i Interface) Up() error { return Up(i.NS, i.Name) }

// SetMTU sets the MTU in bytes.
func (i Interface) SetMTU(mtu int) error { return SetMTU(i.NS, i.Name, mtu) }

// SetOffload switches rx, tx, sg, tso, gso or gro.
func (i Interface) SetOffload(feature string, on bool) error {
	return SetOffload(i.NS, i.Name, feature, on)
}

// Offload tells whether the offload is on.
func (i Interface) Offload(feature string) (bool, error) { return Offload(i.NS, i.Name, feature) }
