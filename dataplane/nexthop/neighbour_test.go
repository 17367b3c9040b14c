package nexthop

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestNeighbourStates(t *testing.T) {
	tests := []struct {
		name             string
		state            nud
		before           bool
		reachable, pokes bool
	}{
		{"unknown: ask, and trust", 0, true, true, true},
		{"the kernel asks: trust", netlink.NUD_INCOMPLETE, true, true, false},
		{"the kernel asks again after it failed: still down", netlink.NUD_INCOMPLETE, false, false, false},
		{"answered", netlink.NUD_REACHABLE, false, true, false},
		{"answered long ago: ask", netlink.NUD_STALE, true, true, true},
		{"asked anew", netlink.NUD_PROBE, true, true, false},
		{"does not answer: ask", netlink.NUD_FAILED, true, false, true},
		{"written by hand", netlink.NUD_PERMANENT, false, true, false},
		{"needs no address", netlink.NUD_NOARP, true, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.state.reachable(tt.before); got != tt.reachable {
				t.Errorf("reachable %t, want %t", got, tt.reachable)
			}
			if got := tt.state.wantsPoke(); got != tt.pokes {
				t.Errorf("pokes %t, want %t", got, tt.pokes)
			}
		})
	}
}

func TestMoved(t *testing.T) {
	n := neighbour{1, netip.MustParseAddr("192.0.2.1")}
	is := func(mac byte, state nud) map[neighbour]entry {
		return map[neighbour]entry{n: {mac: [6]byte{mac}, nud: state}}
	}
	tests := []struct {
		name          string
		before, after map[neighbour]entry
		want          bool
	}{
		{"a new neighbour is in no cache", nil, is(1, netlink.NUD_REACHABLE), false},
		{"ageing changes nothing", is(1, netlink.NUD_REACHABLE), is(1, netlink.NUD_STALE), false},
		{"another MAC", is(1, netlink.NUD_REACHABLE), is(2, netlink.NUD_REACHABLE), true},
		{"no answer any more", is(1, netlink.NUD_PROBE), is(0, netlink.NUD_FAILED), true},
		{"gone", is(1, netlink.NUD_STALE), nil, true},
		{"resolved after all", is(0, netlink.NUD_INCOMPLETE), is(1, netlink.NUD_REACHABLE), false},
		{"an unresolved one gone", is(0, netlink.NUD_FAILED), nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := moved(tt.before, tt.after); got != tt.want {
				t.Errorf("moved %t, want %t", got, tt.want)
			}
		})
	}
}
