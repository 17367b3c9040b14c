// Package interop holds weir's BGP to the implementations of others: FRR and
// Debian's GoBGP 3 in the place of the article's client, with passwords and
// without, FRR on a worker beside weir, sessions that flap, and a peer that sends
// what no peer should. XDP and TC programs of others are beside its own.
package interop
