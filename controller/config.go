package controller

import (
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/ipam"
)

// Config is what a person chose, for all services and nodes.
type Config struct {
	// Namespaces that the pods of weir may be in, none for any. Whoever may
	// write EndpointSlices in one of them says which machines are load
	// balancer nodes, and speak BGP with the others.
	Namespaces []string
	// Pools that service addresses come from, at least one.
	Pools []ipam.Pool
	// UniqueIP gives every service an address of its own (--setUniqueIP).
	UniqueIP bool
	// BGP is nil where weir does not run BGP (no --setBGP).
	BGP *BGP
	// SetRoles makes one load balancer node active for all addresses, as in
	// the article. By default the addresses are spread over the nodes.
	SetRoles bool
	// Mode of services without an lbmode annotation (--setLBMode).
	Mode v1.Mode
	// Monitor asks for probes of the backends of services without a liveness
	// annotation (--monitor).
	Monitor bool
	// Withdraw allows that an address is not announced while no service on
	// it has a live backend, for services without a withdraw annotation
	// (--withdraw).
	Withdraw bool
	// UsePodNetwork sends to pods instead of NodePorts where a service has no
	// usepodnetwork annotation (--usePodNetwork).
	UsePodNetwork bool
}

// BGP is the mesh's configuration.
type BGP struct {
	// ASN of all nodes (--setBGP).
	ASN uint32
	// ListenPort of all nodes, 179 unless --listenBGPPort says otherwise.
	ListenPort uint16
	// HoldTime in seconds, zero for v1.DefaultHoldTime (--bgpHoldTime).
	HoldTime uint16
	// External peers of the load balancer nodes (--extBGPPeers).
	External []ExternalPeer
	// Accept is all that external peers may bring, nil for anything
	// (--extBGPAccept).
	Accept []netip.Prefix
	// MaxPrefixes of an external peer, zero for v1.DefaultMaxPrefixes
	// (--extBGPMaxPrefixes).
	MaxPrefixes uint32
	// TTLSecurity refuses external peers behind a router (--extBGPTTLSecurity).
	TTLSecurity bool
	// MultiHop allows external peers behind a router (--eBGPMultiHop).
	MultiHop bool
}

// ExternalPeer is a router outside of the cluster.
type ExternalPeer struct {
	Address netip.Addr
	ASN     uint32
	// Password of the session (--bgpPasswordFile), empty for none.
	Password v1.Password
}
