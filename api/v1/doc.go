// Package v1 holds the types that cross a process boundary of weir: what a
// controller asks of a node (NodeState) and what a node says of itself
// (ObservedState and its parts). They travel as JSON over the node's unix
// socket or over mutual TLS.
//
// The package is pure: no I/O, no clock, no log. Values are safe for
// concurrent reads; nothing here is safe for concurrent writes. Addresses and
// ports are in host order, as net/netip has them; the dataplane alone turns
// them into network order.
package v1
