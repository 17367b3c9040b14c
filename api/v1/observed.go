package v1

import (
	"net/netip"
	"strconv"
	"time"
)

// ObservedState is what a node says of itself: GET /v1/observed.
type ObservedState struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	// Mode is "lb" or "peer" (weir --peer).
	Mode       string          `json:"mode"`
	Owners     []OwnerStatus   `json:"owners"`
	Services   []ServiceStatus `json:"services"`
	Interfaces []Interface     `json:"interfaces"`
	// FlowTable is absent on a peer.
	FlowTable  *FlowTable  `json:"flowTable,omitempty"`
	BGP        *BGPStatus  `json:"bgp,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// FlowTable is the room for established flows as it was at the last sweep,
// at most some ten seconds ago.
type FlowTable struct {
	// Entries in use, two a connection.
	Entries uint32 `json:"entries"`
	// Capacity is --max-flows; zero before the first sweep.
	Capacity uint32 `json:"capacity"`
}

// OwnerStatus says how far an owner's state has come.
type OwnerStatus struct {
	Owner string `json:"owner"`
	// Desired was accepted and stored, Applied is in force.
	Desired Generation `json:"desired"`
	Applied Generation `json:"applied"`
	// Error says why Applied lags, in one line.
	Error string `json:"error,omitempty"`
}

// OwnerReport says how an owner's services fare on a node: GET
// /v1/owners/{owner}. It is small while all is well, for those who poll.
type OwnerReport struct {
	OwnerStatus
	// Faults are the owner's services that lead nowhere on this node, ordered
	// by frontend: refused, not programmed, or with backends of which none can
	// be sent to. What probes say of backends is not among them.
	Faults []ServiceFault `json:"faults"`
}

// ServiceFault is a service that leads nowhere, with the condition that says
// why.
type ServiceFault struct {
	Frontend  Frontend  `json:"frontend"`
	Condition Condition `json:"condition"`
}

// ServiceStatus is a service as the dataplane has it: GET /v1/services.
type ServiceStatus struct {
	Service
	Owner string `json:"owner"`
	// Programmed is true when the whole service is in the maps. A service is
	// programmed whole or not at all.
	Programmed    bool            `json:"programmed"`
	BackendStates []BackendStatus `json:"backendStates,omitempty"`
	Conditions    []Condition     `json:"conditions,omitempty"`
}

// BackendStatus is a backend as the dataplane has it: GET /v1/backends.
type BackendStatus struct {
	Backend
	// State is "active", "inactive" (a probe failed), "unreachable" (no
	// route) or "unserved" (on this node, which runs without --egr-hooks).
	State string `json:"state"`
	// Flows counts the flows in both tables that name this backend.
	Flows uint64 `json:"flows"`
	// Packets and Bytes count what the live flows carried, both directions.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Probe   *Probe `json:"probe,omitempty"`
}

// Backend states.
const (
	BackendActive      = "active"
	BackendInactive    = "inactive"
	BackendUnreachable = "unreachable"
	BackendUnserved    = "unserved"
)

// Probe is the last result of a backend's health probe.
type Probe struct {
	// Type is "tcp", "udp", "sctp", "http", "https" or "ping".
	Type    string `json:"type"`
	Healthy bool   `json:"healthy"`
	// Latency is how long the answer took, zero where none came: UDP servers
	// may be silent.
	Latency time.Duration `json:"latency"`
	// Error is why it is not healthy, in one line.
	Error string `json:"error,omitempty"`
	// Last is when the probe ended.
	Last time.Time `json:"last"`
	// Since is when the backend became what it is, active or inactive.
	Since time.Time `json:"since,omitzero"`
}

// Interface is a network interface and what weir did with it.
type Interface struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	// Hook is "xdp", "tc" or "none".
	Hook string `json:"hook"`
	// Egress says that what leaves by it is served too (--egr-hooks).
	Egress bool `json:"egress,omitempty"`
	// Reason says why Hook is what it is.
	Reason string `json:"reason,omitempty"`
	MTU    int    `json:"mtu"`
}

// Flow is one direction of a connection: GET /v1/flows.
type Flow struct {
	Protocol Protocol `json:"protocol"`
	// Source and Destination as the packet comes in.
	Source      netip.AddrPort `json:"source"`
	Destination netip.AddrPort `json:"destination"`
	// NewSource and NewDestination as it goes out.
	NewSource      netip.AddrPort `json:"newSource"`
	NewDestination netip.AddrPort `json:"newDestination"`
	// Direction is "forward" (from the client) or "reply".
	Direction string `json:"direction"`
	// State is "half-open" or "established", and "closing" after FIN, RST,
	// SHUTDOWN or ABORT.
	State    string        `json:"state"`
	Service  string        `json:"service,omitempty"`
	Packets  uint64        `json:"packets"`
	Bytes    uint64        `json:"bytes"`
	IdleTime time.Duration `json:"idleTime"`
}

// Drop counts the packets that one reason ended: GET /v1/drops.
type Drop struct {
	Reason string `json:"reason"`
	// Count since the maps were made, over all CPUs and hooks.
	Count uint64 `json:"count"`
}

// Counters are the dataplane's totals: In = Forwarded + Passed + the drops.
// Answered says how many of the dropped packets were answered, by RST, ABORT
// or an ICMP error.
// A row that says Action "drop" has a Drop reason.
type Counters struct {
	In        uint64 `json:"in"`
	Forwarded uint64 `json:"forwarded"`
	Passed    uint64 `json:"passed"`
	Answered  uint64 `json:"answered"`
	Drops     []Drop `json:"drops"`
	// FlowTable is absent on a peer.
	FlowTable *FlowTable `json:"flowTable,omitempty"`
}

// BGPStatus is the speaker as it stands: GET /v1/bgp.
type BGPStatus struct {
	ASN            uint32          `json:"asn"`
	RouterID       netip.Addr      `json:"routerID"`
	ListenPort     uint16          `json:"listenPort"`
	Peers          []PeerStatus    `json:"peers"`
	Advertisements []Advertisement `json:"advertisements"`
	// Routes are the learned best paths that stand in the kernel FIB.
	Routes []Route `json:"routes"`
	// Bound are learned service addresses that are bound to an interface of
	// this node, so that their packets end here and no route was installed.
	Bound []netip.Addr `json:"bound,omitempty"`
	// Conditions say what is not as it should be: the speaker does not run,
	// a learned route could not be installed.
	Conditions []Condition `json:"conditions,omitempty"`
}

// PeerStatus is one BGP session.
type PeerStatus struct {
	Peer
	// State is GoBGP's session state: "established", "active", ...
	State string `json:"state"`
	// Uptime of the session, or time since it went down.
	Uptime   time.Duration `json:"uptime"`
	Received uint64        `json:"received"`
	Accepted uint64        `json:"accepted"`
}

// Advertisement is a prefix that this node originates.
type Advertisement struct {
	Prefix    netip.Prefix `json:"prefix"`
	LocalPref uint32       `json:"localPref"`
	MED       uint32       `json:"med"`
	// Prepend is how often external peers see our AS number in addition.
	Prepend int `json:"prepend"`
}

// Route is a prefix in the kernel FIB with all its equal-cost next hops.
type Route struct {
	Prefix   netip.Prefix `json:"prefix"`
	NextHops []netip.Addr `json:"nextHops"`
}

// Condition says one thing about an object, in the way of Kubernetes.
type Condition struct {
	// Type is CamelCase, from the constants below.
	Type string `json:"type"`
	// Status is true when the condition holds.
	Status bool `json:"status"`
	// Unknown says that nobody knows yet whether it holds; Status is false then.
	Unknown bool `json:"unknown,omitempty"`
	// Reason is CamelCase, for programs.
	Reason string `json:"reason"`
	// Message is one line for a person and says what to do.
	Message string `json:"message"`
}

// StatusText is the status in one word: true, false or unknown.
func (c Condition) StatusText() string {
	if c.Unknown {
		return "unknown"
	}
	return strconv.FormatBool(c.Status)
}

// Condition types.
const (
	// ConditionProgrammed: what was asked for is in force.
	ConditionProgrammed = "Programmed"
	// ConditionAllocated: the service has an address.
	ConditionAllocated = "Allocated"
	// ConditionAccepted: what was asked for can be done.
	ConditionAccepted = "Accepted"
	// ConditionIPv6Served is of Services with an IPv6 address: it is published and
	// served.
	ConditionIPv6Served = "IPv6Served"
	// ConditionReserved is of Services with addresses that their status does not
	// publish: its message has those, the ports that they are held for, and nothing else.
	ConditionReserved = "Reserved"
	// ConditionReachable: backends can be sent to.
	ConditionReachable = "Reachable"
	// ConditionHealthy is of services with Monitor: backends answer their probes.
	ConditionHealthy = "Healthy"
	// ConditionNodeTraffic: what starts or ends on this node is served too.
	ConditionNodeTraffic = "NodeTraffic"
	// ConditionAnnounced is of services whose address is withdrawn for want of
	// live backends (Service.Withdraw); of others there is none.
	ConditionAnnounced = "Announced"
	// ConditionEstablished is of BGP sessions: the peer is spoken with.
	ConditionEstablished = "Established"
	// ConditionFlowSpace: established flows have room to grow.
	ConditionFlowSpace = "FlowSpace"
	// ConditionOwnPorts: flows that have this node's address as their source choose
	// from ports that its sockets do not.
	ConditionOwnPorts = "OwnPorts"
	// ConditionPacketsSeen: no program of others runs before weir's.
	ConditionPacketsSeen = "PacketsSeen"
	// ConditionPersisted: what the node shall do survives its restart.
	ConditionPersisted = "Persisted"
)
