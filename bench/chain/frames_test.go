package chain

import (
	"net/netip"
	"testing"

	"github.com/weir-lb/weir/bench/lab"
)

func TestClientsDiffer(t *testing.T) {
	const many = 200_000
	seen := make(map[netip.AddrPort]bool, many)
	for n := range many {
		c := client(n)
		if seen[c] || !lab.Clients.Contains(c.Addr()) || c.Port() < 1024 {
			t.Fatalf("client %d is %s", n, c)
		}
		seen[c] = true
	}
}
