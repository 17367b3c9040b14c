package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// script is a Prober of servers whose state a test sets.
type script struct {
	mu      sync.Mutex
	started map[Target][]time.Time
	dead    map[Target]bool
	// failure is what dead servers give, errDead by default.
	failure error
	// slow servers use the whole time-out, dead or not.
	slow            bool
	underWay, worst int
}

var errDead = errors.New("connection refused")

func newScript() *script {
	return &script{started: map[Target][]time.Time{}, dead: map[Target]bool{}, failure: errDead}
}

func (s *script) kill(targets ...Target)   { s.set(true, targets) }
func (s *script) revive(targets ...Target) { s.set(false, targets) }

func (s *script) set(dead bool, targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range targets {
		s.dead[t] = dead
	}
}

func (s *script) Probe(ctx context.Context, t Target) (time.Duration, error) {
	s.mu.Lock()
	s.started[t] = append(s.started[t], time.Now())
	s.underWay++
	s.worst = max(s.worst, s.underWay)
	slow := s.slow
	s.mu.Unlock()
	if slow {
		<-ctx.Done()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay--
	if s.dead[t] {
		return 0, s.failure
	}
	return time.Millisecond, nil
}

func (s *script) asked(t Target) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.started[t])
}

func targets(n int) []Target {
	all := make([]Target, n)
	for i := range all {
		address := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		all[i] = Target{Type: []v1.ProbeType{v1.ProbeTCP, v1.ProbeUDP, v1.ProbeSCTP}[i%3], Address: netip.AddrPortFrom(address, 80)}
	}
	return all
}

// run starts a monitor inside a bubble; it ends when the returned function is
// called.
func run(t *testing.T, s *script) (*Monitor, func()) {
	t.Helper()
	m := New(s, Timing{})
	m.random = rand.New(&locked{source: rand.NewPCG(1, 2)}).Float64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	return m, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// locked makes a source safe for the monitor's goroutines.
type locked struct {
	mu     sync.Mutex
	source rand.Source
}

func (l *locked) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Uint64()
}

func downs(m *Monitor) int {
	n := 0
	for _, s := range m.Report() {
		if s.Down {
			n++
		}
	}
	return n
}

// 2000 endpoints that all use their whole time-out are probed on time; when
// all of them die at once each is found in time, and found again.
func TestThousandsAreProbedOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := newScript(), targets(2000)
		s.slow = true
		m, stop := run(t, s)
		defer stop()
		watched := time.Now()
		m.Watch(all)
		<-time.After(time.Minute)
		synctest.Wait()
		expectOnTime(t, s, all, watched)
		if got := downs(m); got != 0 {
			t.Errorf("%d healthy endpoints are down", got)
		}
		s.kill(all...)
		<-time.After(Defaults.Detection())
		synctest.Wait()
		if got := downs(m); got != len(all) {
			t.Errorf("%d of %d dead endpoints are down after %v", got, len(all), Defaults.Detection())
		}
		s.revive(all...)
		<-time.After(DefaultPeriod + rise*DefaultTimeout + Defaults.pause())
		synctest.Wait()
		if got := downs(m); got != 0 {
			t.Errorf("%d endpoints that are back are down", got)
		}
	})
}

func expectOnTime(t *testing.T, s *script, all []Target, watched time.Time) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worst > concurrency {
		t.Errorf("%d probes were under way at once, want %d at most", s.worst, concurrency)
	}
	perSecond := map[int64]int{}
	for _, target := range all {
		starts := s.started[target]
		// New ones have to wait for room: 1024 in the first second.
		if first := starts[0].Sub(watched); first > Defaults.within()+2*DefaultTimeout {
			t.Fatalf("%v is asked first after %v", target, first)
		}
		for i := 1; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1])
			perSecond[starts[i].Unix()]++
			least := DefaultPeriod * 9 / 10
			if i == 1 {
				least = DefaultTimeout
			}
			if gap < least || gap > DefaultPeriod+DefaultTimeout/100 {
				t.Fatalf("%v is asked %v after probe %d", target, gap, i)
			}
		}
	}
	for second, n := range perSecond {
		if second-watched.Unix() > 10 && n > len(all)*3/5 {
			t.Errorf("%d probes start in one second, not spread over %v", n, DefaultPeriod)
		}
	}
}

// Fast refusals are found faster than the bound, by retries.
func TestARefusalIsFoundAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := newScript(), targets(2)
		m, stop := run(t, s)
		defer stop()
		s.kill(all[1])
		m.Watch(append(all, all...)) // named twice, probed once
		<-m.Changed()
		report := m.Report()
		if report[all[0]].Down || !report[all[1]].Down {
			t.Errorf("report %+v", report)
		}
		if p := report[all[1]].Probe; p.Healthy || p.Error != errDead.Error() || p.Type != "udp" || !p.Last.Equal(time.Now()) {
			t.Errorf("last probe %+v", p)
		}
		if p := report[all[0]].Probe; !p.Healthy || p.Error != "" || p.Latency != time.Millisecond || p.Type != "tcp" {
			t.Errorf("last probe %+v", p)
		}
		if got := s.asked(all[1]); got != DefaultRetries+1 {
			t.Errorf("%d probes", got)
		}
		s.revive(all[1])
		<-m.Changed()
		if got := downs(m); got != 0 {
			t.Errorf("%d are down", got)
		}
	})
}

// A target that is no longer watched is neither asked nor reported, also when
// its probe is under way; when it returns it starts anew.
func TestWatchIsTheWholeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := newScript(), targets(2)
		s.slow = true
		m, stop := run(t, s)
		defer stop()
		s.kill(all[1])
		m.Watch(all)
		<-m.Changed()
		m.Watch(all[:1])
		if got := len(m.Report()); got != 1 {
			t.Errorf("%d targets are reported, want 1", got)
		}
		asked := s.asked(all[1])
		<-time.After(10 * DefaultPeriod)
		synctest.Wait()
		if got := s.asked(all[1]); got != asked {
			t.Errorf("one that nobody watches was asked %d times more", got-asked)
		}
		m.Watch(all)
		if status := m.Report()[all[1]]; status.Down || status.Probe != nil {
			t.Errorf("one that is new has %+v", status)
		}
		<-time.After(Defaults.within()) // its first probe is under way
		synctest.Wait()
		m.Watch(nil)
		m.Watch(all[1:])
		<-time.After(DefaultTimeout) // the old result comes
		synctest.Wait()
		if got := m.Report()[all[1]].Probe; got != nil && got.Last.Before(time.Now().Add(-Defaults.within())) {
			t.Errorf("the result of a probe before it was watched counts: %+v", got)
		}
		<-m.Changed()
		if got := downs(m); got != 1 {
			t.Errorf("%d are down, want 1", got)
		}
	})
}

// What this node could not ask is told and changes no verdict.
func TestInconclusiveChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := newScript(), targets(1)
		s.failure = fmt.Errorf("no sockets: %w", ErrInconclusive)
		s.kill(all...)
		m, stop := run(t, s)
		defer stop()
		m.Watch(all)
		<-time.After(time.Minute)
		synctest.Wait()
		status := m.Report()[all[0]]
		if status.Down || status.Probe == nil || status.Probe.Healthy || status.Probe.Error != "no sockets: not asked" {
			t.Errorf("status %+v, probe %+v", status, status.Probe)
		}
	})
}

// When Run ends the probes under way end too, and their failure is nobody's.
func TestRunEndsItsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := newScript(), targets(3000)
		s.slow = true
		s.kill(all...)
		m, stop := run(t, s)
		m.Watch(all)
		<-time.After(Defaults.within())
		stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.underWay != 0 || s.worst != concurrency {
			t.Errorf("%d probes are under way, %d were; want 0 and %d", s.underWay, s.worst, concurrency)
		}
		for target, status := range m.Report() {
			if status.Probe != nil {
				t.Fatalf("%v has %+v", target, status.Probe)
			}
		}
	})
}
