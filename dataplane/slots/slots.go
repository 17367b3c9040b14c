// Package slots fills the slot table of a service: the flat array that the
// dataplane indexes to choose a backend for a new flow. How the index comes
// about (in turn, by hash) is the dataplane's concern; how often and where a
// backend stands in the table is this package's.
//
// The package is pure. A table depends on the backends and their order alone,
// so that equal input gives equal tables on every node.
package slots

import "net/netip"

// MaxSize bounds the table of one service, in slots. 128 KiB of the flat array
// is the most that one service can take; a table that would be larger is
// scaled down (see RoundRobin, MaglevSize).
const MaxSize = 32768

// Backend is one candidate for a slot.
type Backend struct {
	// Address identifies the backend to algorithms that hash; a builder that
	// only counts ignores it.
	Address netip.AddrPort
	// Weight is the share relative to the others, zero counts as 1.
	Weight uint16
}

// Builder fills a table: each element is an index into backends. No backends
// give an empty table, and every backend stands in the table at least once.
// A builder is deterministic and safe for concurrent use.
type Builder interface {
	Build(backends []Backend) []int
}
