// Package bgp holds the words that the parts of the BGP side share: what a
// speaker is told (Config) and what it says (State). The speaker itself is
// behind the Speaker interface; package gobgp implements it, package fake
// replaces it in tests, package node drives it.
//
// Addresses and prefixes are net/netip values in host order. AS numbers have
// four bytes. Times are in the unit that each field names.
package bgp

import (
	"context"
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// DefaultPort is the port that BGP listens on (RFC 4271 section 3).
const DefaultPort = 179

// RestartTime is how long a peer keeps our routes after our session closed
// without a NOTIFICATION, and so how long we have to come back after a
// restart (RFC 4724 section 3).
const RestartTime = 30 * time.Second

// Speaker is a BGP speaker. Every Set replaces the whole set, is idempotent
// and touches only what differs: a session whose peer did not change never
// flaps. Call Start first, then the Sets in any order; they fail before it.
//
// Methods are safe for concurrent use.
type Speaker interface {
	// Start runs the speaker with g. With the g it runs with already, it does
	// nothing; with another it starts anew, and forgets what the Sets said.
	Start(ctx context.Context, g Global) error
	// SetPolicy replaces what is done to paths on import and export.
	SetPolicy(ctx context.Context, p Policy) error
	// SetPeers replaces the neighbours.
	SetPeers(ctx context.Context, peers []Peer) error
	// SetAdvertisements replaces the prefixes that this node originates. One
	// that changed is announced anew in place, without a withdrawal.
	SetAdvertisements(ctx context.Context, ads []v1.Advertisement) error
	// Watch returns a channel that holds a value after State changed. Several
	// changes may share one. It is the same channel on every call, for one
	// reader, and outlives Start and Stop.
	Watch() <-chan struct{}
	// State returns sessions and learned routes. It is empty before Start.
	State(ctx context.Context) (State, error)
	// Stop ends the sessions with a NOTIFICATION, so that the peers drop our
	// routes at once. Stopping what is not running is success.
	Stop(ctx context.Context) error
	// Close ends the speaker as a crash would, without a NOTIFICATION, so
	// that the peers keep our routes for RestartTime. The speaker is of no
	// use afterwards.
	Close() error
}

// Config is everything that a Speaker is told.
type Config struct {
	Global         Global
	Policy         Policy
	Peers          []Peer
	Advertisements []v1.Advertisement
}

// Global is what cannot change without a restart of the speaker.
type Global struct {
	ASN      uint32
	RouterID netip.Addr
	// ListenPort is 1 to 65535.
	ListenPort uint16
}

// Policy says what is done to paths besides BGP's own rules. The zero value
// does nothing.
type Policy struct {
	// NextHopSelf puts this node's address into every path that it exports.
	NextHopSelf bool
	// RefuseFromExternal are prefixes which, with everything inside them, are
	// not taken from peers of role v1.PeerExternal.
	RefuseFromExternal []netip.Prefix
	// AcceptFromExternal, where it is not nil, is all that is taken from these,
	// each with everything inside it.
	AcceptFromExternal []netip.Prefix
	// RefuseFromLB are prefixes which, with everything inside them, are not
	// taken from peers of role v1.PeerLB.
	RefuseFromLB []netip.Prefix
	// RefuseFromWorkers takes nothing from peers of role v1.PeerWorker.
	RefuseFromWorkers bool
}

// Peer is one neighbour. All fields are comparable with ==.
type Peer struct {
	Address netip.Addr
	ASN     uint32
	Port    uint16
	Role    v1.PeerRole
	// MultiHop allows an eBGP peer that is not on a connected network.
	MultiHop bool
	// Passive waits for the peer to connect.
	Passive bool
	// HoldTime in seconds, at least 3; keepalives go out three times as often.
	HoldTime uint16
	// Password signs the segments (RFC 2385); empty for none.
	Password v1.Password
	// TTLSecurity sends with TTL 255 and refuses segments that come with less,
	// which crossed a router (RFC 5082). Not with MultiHop.
	TTLSecurity bool
	// MaxPrefixes is how many prefixes the peer may bring; with one more its
	// session ends. Zero for any number.
	MaxPrefixes uint32
}

// State is what a speaker knows. Slices are sorted by address and prefix.
type State struct {
	Sessions []Session
	Routes   []Route
}

// Session is the state of the session with one Peer.
type Session struct {
	Address netip.Addr
	// State is RFC 4271's, in lower case: "idle", "connect", "active",
	// "opensent", "openconfirm", "established".
	State string
	// Since is when the session came up, or went down; zero if never.
	Since time.Time
	// EndOfRIB is true once the peer, in this session, has sent all it has.
	EndOfRIB bool
	// TooMany is true while the peer is kept out for it brought more prefixes
	// than it may.
	TooMany bool
	// Received and Accepted count prefixes, before and after import policy.
	Received, Accepted uint64
}

// Established is the State of a session that carries routes.
const Established = "established"

// Route is a learned prefix whose best path came from a peer.
type Route struct {
	Prefix netip.Prefix
	// NextHops of the best path, then of those equal to it.
	NextHops []netip.Addr
}
