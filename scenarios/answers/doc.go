// Package answers looks at the packets that weir sends itself, as the programs of
// users meet them: what nobody serves is refused within a round trip, too long and
// expired packets are answered, and path-MTU discovery works through a VIP in both
// directions, whoever of the way is too narrow.
package answers
