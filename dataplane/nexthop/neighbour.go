package nexthop

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// neighbour is who a packet is handed to on an interface.
type neighbour struct {
	index   int
	address netip.Addr
}

// entry is what the kernel knows of a neighbour.
type entry struct {
	mac [6]byte
	nud nud
}

// nud is the kernel's state of a neighbour, NUD_*. RFC 4861 section 7.3.2 has
// the state machine, which Linux uses for ARP too.
type nud int

const (
	valid      nud = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT | netlink.NUD_NOARP
	unresolved nud = netlink.NUD_FAILED
)

// resolved says that the kernel, and bpf_fib_lookup, would send to it.
func (n nud) resolved() bool { return n&valid != 0 }

// reachable is the verdict after this state: a neighbour is unreachable from
// FAILED until it is resolved again. INCOMPLETE in between, and at the start,
// changes nothing.
func (n nud) reachable(before bool) bool {
	switch {
	case n.resolved():
		return true
	case n&unresolved != 0:
		return false
	}
	return before
}

// wantsPoke says that the kernel does nothing for the neighbour by itself:
// it does not know it, has given up, or trusts an old answer.
func (n nud) wantsPoke() bool {
	return n == 0 || n&(netlink.NUD_FAILED|netlink.NUD_STALE) != 0
}

// moved says that a next hop which somebody cached is wrong now: a neighbour
// has another MAC, or is not resolved any more. A new one is in no cache.
func moved(before, after map[neighbour]entry) bool {
	for n, was := range before {
		if !was.nud.resolved() {
			continue
		}
		if is, still := after[n]; !still || !is.nud.resolved() || is.mac != was.mac {
			return true
		}
	}
	return false
}
