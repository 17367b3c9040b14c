package v1

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
)

// Generation orders the states that one owner sends. Two controllers that
// both believe they lead are ordered by the epoch of their lease; within one
// lease the sequence counts up.
type Generation struct {
	// Epoch counts leases. Optional; zero for an owner without election.
	Epoch uint64 `json:"epoch"`
	// Sequence counts states within the epoch.
	Sequence uint64 `json:"sequence"`
}

// Compare returns -1, 0 or +1 as g is older than, equal to or newer than o.
func (g Generation) Compare(o Generation) int {
	if c := cmp.Compare(g.Epoch, o.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(g.Sequence, o.Sequence)
}

// String prints the generation as epoch.sequence.
func (g Generation) String() string { return fmt.Sprintf("%d.%d", g.Epoch, g.Sequence) }

// NodeState is everything that one owner wants of one node. It is a whole
// set: what is absent is removed. The zero value asks for nothing.
type NodeState struct {
	Generation Generation `json:"generation"`
	// Services in any order; a frontend (VIP, port, protocol) occurs once.
	Services []Service `json:"services,omitempty"`
	// BGP is absent where the owner does not run BGP on this node.
	BGP *BGP `json:"bgp,omitempty"`
	// Roles gives this node's rank for each VIP. A VIP without a role is
	// served, but not announced.
	Roles []Role `json:"roles,omitempty"`
	// Drained says that the machine is about to go, and that others serve in its
	// place: a signal that ends weir then means a stop, as POST /v1/drain does, and
	// no restart. Until that comes it changes nothing. Of several owners one that
	// says so is enough.
	Drained bool `json:"drained,omitempty"`
}

// EqualStates says that two states ask for the same, which is quicker than to
// compare them by reflection: a controller does so for each node with every
// change. An empty list of services, backends, sources or roles and none are the
// same. It is no method Equal, by which tests would compare and not field by field.
func EqualStates(a, b NodeState) bool {
	return a.Generation == b.Generation && a.Drained == b.Drained && slices.Equal(a.Roles, b.Roles) &&
		slices.EqualFunc(a.Services, b.Services, EqualServices) && reflect.DeepEqual(a.BGP, b.BGP)
}

// Role is this node's place among the load balancer nodes of one VIP.
type Role struct {
	VIP netip.Addr `json:"vip"`
	// Rank 0 is the active node, 1 the first standby, and so on. Ranks of
	// one VIP differ on every node, so a BGP tie cannot happen.
	Rank int `json:"rank"`
	// Nodes is how many load balancer nodes hold a rank for this VIP; the
	// dataplane divides source ports by it. At least Rank+1.
	Nodes int `json:"nodes"`
}

// Protocol is the layer 4 protocol of a service.
type Protocol string

// The protocols a service may have. Their spelling is that of the article's
// table, not that of Kubernetes.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// Number returns the IANA protocol number, zero for an unknown protocol.
func (p Protocol) Number() uint8 {
	switch p {
	case TCP:
		return 6
	case UDP:
		return 17
	case SCTP:
		return 132
	}
	return 0
}

// ProtocolFromNumber is the inverse of Number; the result is empty for a
// number that no service can have.
func ProtocolFromNumber(n uint8) Protocol {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if p.Number() == n {
			return p
		}
	}
	return ""
}

// Mode says what the dataplane rewrites (docs/architecture.md, "Modes").
type Mode string

// The modes that the dataplane serves today.
const (
	// ModeDefault rewrites the destination only; answers must cross this node.
	ModeDefault Mode = "default"
	// ModeOneArm also rewrites the source to this node's own address.
	ModeOneArm Mode = "onearm"
	// ModeFullNAT also rewrites the source to the VIP; BGP brings answers to
	// the active node.
	ModeFullNAT Mode = "fullnat"
)

// Algorithm says how a backend is chosen for a new flow.
type Algorithm string

// Algorithms of the dataplane.
const (
	// RoundRobin walks the weighted slot table in turn.
	RoundRobin Algorithm = "rr"
	// Hash looks the client's address and port up in a table that is equal on
	// all nodes (Maglev), so that each of them chooses the same backend.
	Hash Algorithm = "hash"
)

// Frontend names a service to the outside: what a client dials.
type Frontend struct {
	VIP      netip.Addr `json:"vip"`
	Port     uint16     `json:"port"`
	Protocol Protocol   `json:"protocol"`
}

// String prints 192.0.2.1:80/tcp.
func (f Frontend) String() string {
	return netip.AddrPortFrom(f.VIP, f.Port).String() + "/" + string(f.Protocol)
}

// Compare orders frontends by address, port and protocol.
func (f Frontend) Compare(o Frontend) int {
	if c := f.VIP.Compare(o.VIP); c != 0 {
		return c
	}
	if c := cmp.Compare(f.Port, o.Port); c != 0 {
		return c
	}
	return cmp.Compare(f.Protocol, o.Protocol)
}

// Service is one frontend and its backends.
type Service struct {
	// Name is for people and logs: namespace/name, with :port where a
	// Kubernetes Service has several.
	Name string `json:"name,omitempty"`
	Frontend
	Mode Mode `json:"mode"`
	// Algorithm is optional; empty means RoundRobin.
	Algorithm Algorithm `json:"algorithm,omitempty"`
	// Block is LoxiLB's mark number, shown in `weirctl get lb`.
	Block uint32 `json:"block,omitempty"`
	// Monitor asks for health probes of the backends.
	Monitor bool `json:"monitor,omitempty"`
	// Probe says how. Optional.
	Probe ProbeSpec `json:"probe,omitzero"`
	// Withdraw allows that the address is not announced while no service on
	// it has a live backend. All services that share an address must allow it.
	Withdraw bool `json:"withdraw,omitempty"`
	// IdleTimeout in seconds is how long an established flow may be silent in
	// both directions before it is forgotten. Optional; zero means what the
	// protocol has: TCP 7440, UDP 300, SCTP 210. At most MaxIdleTimeout.
	IdleTimeout uint32 `json:"idleTimeout,omitempty"`
	// Affinity in seconds is how long a client keeps its backend after its last
	// new flow. Optional; zero means that each flow is balanced by itself. At
	// most MaxAffinity.
	Affinity uint32 `json:"affinity,omitempty"`
	// Sources are the clients that may open flows. Optional; none means all.
	// Flows that are established go on when their client is no longer let in.
	// At most MaxSources.
	Sources  []netip.Prefix `json:"sources,omitempty"`
	Backends []Backend      `json:"backends,omitempty"`
}

// EqualServices says that two services are the same, their lists in the same
// order; an empty list and none are the same.
func EqualServices(a, b Service) bool {
	return a.Frontend == b.Frontend && a.Name == b.Name && a.Mode == b.Mode && a.Algorithm == b.Algorithm &&
		a.Block == b.Block && a.Monitor == b.Monitor && a.Probe == b.Probe && a.Withdraw == b.Withdraw &&
		a.IdleTimeout == b.IdleTimeout && a.Affinity == b.Affinity &&
		slices.Equal(a.Sources, b.Sources) && slices.Equal(a.Backends, b.Backends)
}

// Backend is one endpoint of a service: a NodePort of a node or a pod.
type Backend struct {
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"`
	// Weight is the share of new flows relative to the other backends.
	// Optional; zero means 1. At most MaxWeight.
	Weight uint16 `json:"weight,omitempty"`
	// LB says that it is on a load balancer node. Such a node has no route to
	// the VIP, so in ModeFullNAT the other ones send it their own address as
	// the source. Optional.
	LB bool `json:"lb,omitempty"`
}

// MaxIdleTimeout bounds Service.IdleTimeout, in seconds: a day, as LoxiLB's.
const MaxIdleTimeout = 24 * 60 * 60

// MaxAffinity bounds Service.Affinity, in seconds: a day, as Kubernetes does.
const MaxAffinity = 24 * 60 * 60

// MaxSources bounds Service.Sources.
const MaxSources = 1024

// MaxWeight bounds Backend.Weight so that a slot table stays small.
const MaxWeight = 100

// MaxBackends bounds the backends of one service.
const MaxBackends = 1024

// BGP is the speaker's configuration of a node.
type BGP struct {
	ASN uint32 `json:"asn"`
	// RouterID is the IPv4 address that this node's peers know it by.
	RouterID netip.Addr `json:"routerID"`
	// ListenPort is optional; zero means 179.
	ListenPort uint16 `json:"listenPort,omitempty"`
	// NextHopSelf installs the export policy set-next-hop-self-gpolicy, as
	// LB nodes have it. Peers leave next hops alone.
	NextHopSelf bool `json:"nextHopSelf,omitempty"`
	// HoldTime in seconds, 3 to 65535. Optional; zero means DefaultHoldTime.
	HoldTime uint16 `json:"holdTime,omitempty"`
	Peers    []Peer `json:"peers,omitempty"`
	// VIPs are the prefixes that service addresses come from. An LB node
	// refuses them from other LB nodes, else the standby would re-export the
	// active node's path without MED.
	VIPs []netip.Prefix `json:"vips,omitempty"`
	// Accept is all that external peers may bring, each prefix with what is
	// inside it; empty stands for nothing, absent for anything. VIPs and the
	// addresses of nodes are refused in any case.
	Accept []netip.Prefix `json:"accept,omitzero"`
}

// DefaultHoldTime in seconds: three keepalives of 3 s. RFC 4271 section 10
// suggests 90 s, which is how long a client would keep talking to a dead node.
const DefaultHoldTime = 9

// PeerRole tells what stands at the other end of a session.
type PeerRole string

// The roles of a BGP peer.
const (
	PeerLB       PeerRole = "lb"
	PeerWorker   PeerRole = "worker"
	PeerExternal PeerRole = "external"
)

// Peer is one BGP neighbour.
type Peer struct {
	Address netip.Addr `json:"address"`
	ASN     uint32     `json:"asn"`
	// Port is optional; zero means 179.
	Port uint16   `json:"port,omitempty"`
	Role PeerRole `json:"role"`
	// MultiHop allows an eBGP peer that is not on a connected network.
	MultiHop bool `json:"multiHop,omitempty"`
	// Password signs the session's segments (RFC 2385). Optional; both ends
	// have the same, or no session. A GET does not show it.
	Password Password `json:"password,omitempty"`
	// TTLSecurity refuses segments that crossed a router (RFC 5082); both ends
	// have it, or no session. Optional; not with MultiHop.
	TTLSecurity bool `json:"ttlSecurity,omitempty"`
	// MaxPrefixes is how many prefixes an external peer may bring; with one
	// more its session ends, and it is let in again after some minutes.
	// Optional; zero means DefaultMaxPrefixes.
	MaxPrefixes uint32 `json:"maxPrefixes,omitempty"`
}

// DefaultMaxPrefixes are more than a data centre's routers tell a host, and
// fewer than the Internet's table, which the kernel of a node need not hold.
const DefaultMaxPrefixes = 10_000
