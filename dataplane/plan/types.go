// Package plan decides what has to be written to the BPF maps: it compares
// the services and roles that are desired with the state that the maps are
// in and returns ordered steps. It is pure; package apply executes the steps
// and commits each one to the state when it has been done.
//
// Order is what keeps packets safe while steps run one by one:
//
//   - a backend is written before a slot names it, slots before the service
//     entry that leads to them, a service before its VIP;
//   - a service's new slots go to a region that nothing reads. One write of
//     the service entry switches over, so a service stands whole, old or new,
//     whenever the steps break off;
//   - what was taken out of use rests: a region until no running program can
//     still read it, an id and a VIP until no flow names it.
package plan

import (
	"fmt"
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Grace is how long a region, an id or a VIP rests after the last map entry that led
// to it is gone. A BPF program that read the old entry runs for microseconds;
// a second covers a preempted or throttled CPU.
const Grace = time.Second

// Limits are the sizes of the maps, in elements.
type Limits struct {
	VIPs     int
	Services int
	// Backends and service ids count from 1; element 0 is never used.
	Backends int
	Slots    int
	Sources  int
}

// VIP is an element of the map vips.
type VIP struct {
	// Active says that this node has rank 0 and keeps clients' source ports.
	Active bool
	// Retired says that no service stands on it. Programs ask flows only for packets to
	// addresses that the map has and from backends, so it stays while flows are of it.
	Retired bool
	// Ports are where new flows search their source port.
	Ports PortRange
}

// PortRange is inclusive at both ends.
type PortRange struct{ Min, Max uint16 }

// Service is an element of the map services.
type Service struct {
	ID        uint32
	Slots     Region
	Mode      v1.Mode
	Algorithm v1.Algorithm
	// Affinity in seconds is how long a client keeps its backend.
	Affinity uint32
	// Restricted says that only its sources may come in.
	Restricted bool
}

// Region is a run of elements of the map slots. The zero Region is empty.
type Region struct{ Offset, Count uint32 }

// String prints first-last.
func (r Region) String() string {
	if r.Count == 0 {
		return "empty"
	}
	return fmt.Sprintf("%d-%d", r.Offset, r.Offset+r.Count-1)
}

// Backend is an element of the map backends.
type Backend struct {
	// Service is the id of the service it belongs to.
	Service uint32
	Address netip.AddrPort
	// NodeAddress is this node's source address towards the backend, invalid
	// while there is no route.
	NodeAddress netip.Addr
	// Local says that it is on this node: packets for it go up the stack.
	Local bool
	// LB says that it is on another load balancer node, which has no route to
	// the VIP: in fullnat too it gets packets from NodeAddress.
	LB bool
	// Retired says that no slot names it any more: clients that kept it choose
	// anew.
	Retired bool
}

// Desired is everything that the maps shall say.
type Desired struct {
	// Services in any order. A service that is invalid, occurs twice or does
	// not fit is refused with a condition and leaves the others alone.
	Services []v1.Service
	Roles    []v1.Role
	// NodeAddresses gives this node's source address for each backend
	// address. Optional; an absent backend has none.
	NodeAddresses map[netip.Addr]netip.Addr
	// Unreachable backends get no slot while another backend of the service
	// is reachable. Optional.
	Unreachable map[netip.Addr]bool
	// Local backends are on this node. Optional.
	Local map[netip.Addr]bool
	// Unserved backends get no slot, also when a service has no other: their
	// answers would leave as they are. Optional.
	Unserved map[netip.Addr]bool
	// Own addresses are this node's, which would not be reached at any other port
	// any more: no service is begun on one. Optional.
	Own map[netip.Addr]bool
	// Inactive endpoints get no slot, also when their service has no other:
	// nobody answers there. Optional.
	Inactive map[Endpoint]bool
}

// Endpoint is a backend of one service. Another service may probe the same
// address another way.
type Endpoint struct {
	Frontend v1.Frontend
	Address  netip.AddrPort
}

// Scan is what one complete walk over both flow maps saw. The zero Scan saw
// nothing and releases nothing.
type Scan struct {
	// Started is when the walk began.
	Started time.Time
	// Services and Backends are the ids that flows name, VIPs those that their clients call.
	Services, Backends map[uint32]bool
	VIPs               map[netip.Addr]bool
}

// frees says whether what rests since then would be in the scan if a flow named it.
func (s Scan) frees(since time.Time) bool { return s.Started.Sub(since) > Grace }

// Plan is what to do, and what was not possible.
type Plan struct {
	// Steps in the order in which they must be done. A step whose service
	// failed before must be left out (Step.Of).
	Steps []Step
	// Refused services by their index in Desired.Services. What the maps held
	// for their frontend before stays in force.
	Refused map[int]v1.Condition
}

// Reasons of a refusal, in Condition.Reason.
const (
	ReasonInvalid           = "Invalid"           // The dataplane cannot have a service like this; mend what the message names.
	ReasonDuplicate         = "DuplicateFrontend" // The frontend is given twice; remove one.
	ReasonOwnAddress        = "OwnAddress"        // The VIP is an address of this node; give the service another one.
	ReasonVIPsExhausted     = "VIPsExhausted"     // The table of VIPs is full; remove a VIP or share one.
	ReasonServicesExhausted = "ServicesExhausted" // The table of services is full; remove one, or wait until the flows of removed ones have ended.
	ReasonBackendsExhausted = "BackendsExhausted" // The table of backends is full; remove some, or wait until the flows of removed ones have ended.
	ReasonSlotsExhausted    = "SlotsExhausted"    // No row of slots is free; give the service smaller weights or fewer backends, or round robin instead of hash.
	ReasonSourcesExhausted  = "SourcesExhausted"  // The table of source ranges is full; give services fewer of them.
)
