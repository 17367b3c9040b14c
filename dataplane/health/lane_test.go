package health

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// limited is a host of UDP servers as Linux is one: of its ICMP errors to one
// destination no more than one a second leave it, after a burst of six.
type limited struct {
	mu     sync.Mutex
	dead   map[Target]bool
	tokens time.Duration
	last   time.Time
}

const (
	hostInterval = time.Second
	hostBurst    = 6 * hostInterval
)

func (h *limited) Probe(ctx context.Context, t Target) (time.Duration, error) {
	if h.refuses(t) {
		return 0, refusal("dead")
	}
	<-ctx.Done()
	if !t.silent() && h.isDead(t) {
		return 0, ctx.Err()
	}
	return 0, nil
}

func (h *limited) isDead(t Target) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dead[t]
}

// refuses says that an ICMP error leaves the host, as inet_peer_xrlim_allow.
func (h *limited) refuses(t Target) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dead[t] {
		return false
	}
	now := time.Now()
	h.tokens = min(h.tokens+now.Sub(h.last), hostBurst)
	h.last = now
	if h.tokens < hostInterval {
		return false
	}
	h.tokens -= hostInterval
	return true
}

// datagrams are n servers behind one address.
func datagrams(n int) []Target {
	all := make([]Target, n)
	for i := range all {
		all[i] = Target{Type: v1.ProbeUDP, Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i))}
	}
	return all
}

// sctpServers are n SCTP servers behind the same address; its kernel has no SCTP, so
// that it answers with ICMP errors for those that are dead.
func sctpServers(n int) []Target {
	all := make([]Target, n)
	for i := range all {
		all[i] = Target{Type: v1.ProbeSCTP, Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i))}
	}
	return all
}

// watchLimited runs a monitor on a host.
func watchLimited(t *testing.T, all []Target) (*limited, *Monitor) {
	t.Helper()
	h := &limited{dead: map[Target]bool{}}
	m := New(h, Timing{})
	watch(t, m, all)
	return h, m
}

func (h *limited) set(dead bool, targets []Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range targets {
		h.dead[t] = dead
	}
}

// Many dead servers behind one address: all are found, and stay down for as
// long as they are dead; those that live never go down; all come back.
func TestDeadDatagramServersBehindOneAddress(t *testing.T) {
	for _, tt := range []struct {
		dead, live  int
		found, back time.Duration
	}{
		{1, 0, Defaults.Detection(), 10 * time.Second},
		{5, 5, 20 * time.Second, 15 * time.Second},
		{10, 10, 40 * time.Second, 20 * time.Second},
		{30, 30, 2 * time.Minute, 40 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			all := datagrams(tt.dead + tt.live)
			h, m := watchLimited(t, all)
			<-time.After(time.Minute)
			h.set(true, all[:tt.dead])
			died := time.Now()
			for downs(m) < tt.dead && time.Since(died) < tt.found {
				<-time.After(time.Second / 10)
			}
			t.Logf("%d dead: %d are down after %v", tt.dead, downs(m), time.Since(died))
			if got := downs(m); got != tt.dead {
				t.Fatalf("%d of %d dead servers are down after %v", got, tt.dead, tt.found)
			}
			for range 600 {
				<-time.After(time.Second)
				if got := downs(m); got != tt.dead {
					t.Fatalf("%d are down %v after their death, want %d", got, time.Since(died), tt.dead)
				}
			}
			h.set(false, all)
			revived := time.Now()
			for downs(m) > 0 && time.Since(revived) < tt.back {
				<-time.After(time.Second / 10)
			}
			t.Logf("%d are back after %v", tt.dead, time.Since(revived))
			if got := downs(m); got != 0 {
				t.Errorf("%d are down %v after their return", got, tt.back)
			}
			if len(m.lanes) != 1 {
				t.Errorf("%d lanes", len(m.lanes))
			}
			m.Watch(nil)
			if len(m.lanes) != 0 {
				t.Errorf("%d lanes without a target", len(m.lanes))
			}
		})
	}
}

// Others on the same host, whose probes are answered by ICMP errors too, leave enough
// for those that are known dead by nothing else.
func TestErrorsOfOthersLeaveEnoughForDatagrams(t *testing.T) {
	for _, others := range []int{1, 5, 20} {
		synctest.Test(t, func(t *testing.T) {
			servers, all := datagrams(2), sctpServers(others)
			all = append(all, servers...)
			h, m := watchLimited(t, all)
			<-time.After(time.Minute)
			h.set(true, all[:others+1]) // and one of the servers
			died := time.Now()
			for downs(m) < others+1 && time.Since(died) < time.Minute {
				<-time.After(time.Second / 10)
			}
			t.Logf("%d are down after %v", downs(m), time.Since(died))
			for range 600 {
				if got := downs(m); got != others+1 || m.Report()[servers[1]].Down {
					t.Fatalf("%d are down %v after their death, want %d", got, time.Since(died), others+1)
				}
				<-time.After(time.Second)
			}
			h.set(false, all)
			<-time.After(time.Minute)
			if got := downs(m); got != 0 {
				t.Errorf("%d are down a minute after their return", got)
			}
		})
	}
}
