package nstest

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// Deadline is how long Eventually waits.
const Deadline = 10 * time.Second

// Eventually asks again and again until problem returns an empty string, and
// fails the test with the last problem at the deadline.
func Eventually(t testing.TB, problem func() string) {
	t.Helper()
	deadline := time.NewTimer(Deadline)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		last := problem()
		if last == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("after %v: %s", Deadline, last)
		}
	}
}

func parseNet(p netip.Prefix) (net.IP, *net.IPNet, error) { return net.ParseCIDR(p.String()) }
