package apply_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/apply"
	"github.com/weir-lb/weir/dataplane/maps/mapstest"
	"github.com/weir-lb/weir/dataplane/plan"
)

var limits = plan.Limits{VIPs: 64, Services: 256, Backends: 1024, Slots: 4096}

// clock advances by a second over the grace each time it is read, so that
// nothing rests longer than one plan.
type clock struct{ now time.Time }

func (c *clock) read() time.Time {
	c.now = c.now.Add(plan.Grace + time.Second)
	return c.now
}

func service(i, backends int) v1.Service {
	s := v1.Service{
		Frontend: v1.Frontend{VIP: netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i%8)}), Port: uint16(1000 + i), Protocol: v1.TCP},
		Mode:     v1.ModeFullNAT,
	}
	for b := range backends {
		s.Backends = append(s.Backends, v1.Backend{Address: netip.AddrFrom4([4]byte{10, 0, byte(i), byte(1 + b)}), Port: 8080})
	}
	return s
}

func services(n, backends int) []v1.Service {
	var all []v1.Service
	for i := range n {
		all = append(all, service(i, backends))
	}
	return all
}

// One call in ten fails. Plan and run, again and again, come to the desired
// state, and a frontend never leads to a mixture on the way.
func TestRetryConvergesOverFaultyMaps(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			memory := mapstest.NewMemory(limits.Slots)
			faulty := &mapstest.Faulty{Maps: memory, Share: 0.1, Random: rand.New(rand.NewPCG(seed, 0))}
			state, now := plan.NewState(), &clock{now: time.Unix(1000, 0)}
			for _, desired := range [][]v1.Service{services(20, 3), services(12, 5), services(30, 1), nil} {
				converge(t, desired, memory, faulty, state, now)
			}
			if faulty.Injected == 0 {
				t.Error("no call failed: the test shows nothing")
			}
			if len(memory.VIPs)+len(memory.Services)+len(memory.Backends) > 0 {
				t.Errorf("left behind: %v, %v, %v", memory.VIPs, memory.Services, memory.Backends)
			}
		})
	}
}

func converge(t *testing.T, desired []v1.Service, memory *mapstest.Memory, maps apply.Maps, state *plan.State, now *clock) {
	t.Helper()
	before := map[v1.Frontend]int{}
	for f := range memory.Services {
		before[f] = len(memory.Targets(f))
	}
	for attempt := 0; ; attempt++ {
		if attempt == 50 {
			t.Fatal("does not converge in 50 attempts")
		}
		p := plan.Make(plan.Desired{Services: desired}, state, plan.Scan{Started: now.read()}, limits, now.read())
		if len(p.Refused) > 0 {
			t.Fatalf("refused: %v", p.Refused)
		}
		if len(p.Steps) == 0 {
			break
		}
		apply.Run(p.Steps, maps, state, now.read)
		for _, s := range desired {
			if got := len(memory.Targets(s.Frontend)); got != before[s.Frontend] && got != len(s.Backends) {
				t.Fatalf("%s leads to %d backends, neither %d nor %d", s.Frontend, got, before[s.Frontend], len(s.Backends))
			}
		}
	}
	if len(memory.Services) != len(desired) {
		t.Fatalf("%d services stand, want %d", len(memory.Services), len(desired))
	}
	for _, s := range desired {
		targets := memory.Targets(s.Frontend)
		for _, b := range s.Backends {
			if targets[netip.AddrPortFrom(b.Address, b.Port)] != 1 {
				t.Fatalf("%s leads to %v, want %v once each", s.Frontend, targets, s.Backends)
			}
		}
		if _, ok := memory.VIPs[s.VIP]; !ok {
			t.Fatalf("%s has no VIP", s.Frontend)
		}
	}
}

// broken fails for one kind of call.
type broken struct {
	*mapstest.Memory
	err error
}

func (b broken) PutSlots(uint32, []uint32) error { return b.err }

// Every write of one kind fails here, and no other: which steps follow is counted.
func TestAFailedStepStopsItsServiceAlone(t *testing.T) {
	full := errors.New("no memory")
	memory := broken{mapstest.NewMemory(limits.Slots), full}
	state, now := plan.NewState(), &clock{now: time.Unix(1000, 0)}
	empty, filled := service(0, 0), service(1, 2)
	p := plan.Make(plan.Desired{Services: []v1.Service{empty, filled}}, state, plan.Scan{}, limits, now.read())
	failed := apply.Run(p.Steps, memory, state, now.read)
	if err := failed.Services[filled.Frontend]; !errors.Is(err, full) || len(failed.Services) != 1 {
		t.Errorf("failed: %v, want only %s", failed.Services, filled.Frontend)
	}
	if _, stands := memory.Services[filled.Frontend]; stands {
		t.Error("a service without slots stands")
	}
	if _, stands := memory.Services[empty.Frontend]; !stands {
		t.Error("the other service does not stand")
	}
	if again := plan.Make(plan.Desired{Services: []v1.Service{empty, filled}}, state, plan.Scan{}, limits, now.read()); len(again.Steps) != 2 {
		t.Errorf("the next plan has %d steps, want slots and service only", len(again.Steps))
	}
}

// One endpoint less costs three writes, one in place of another four, and each one
// later, when it has been gone long enough: however many services there are.
// It counts exact writes, so none is made to fail.
func TestWritesInProportion(t *testing.T) {
	big := plan.Limits{VIPs: 64, Services: 16384, Backends: 131072, Slots: 1 << 20}
	for _, size := range []int{10, 100, 1000, 10_000} {
		memory := mapstest.NewMemory(big.Slots)
		state, now := plan.NewState(), &clock{now: time.Unix(1000, 0)}
		var all []v1.Service
		for i := range size {
			s := service(i%256, 10)
			s.VIP, s.Port = netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 50)}), uint16(1+i)
			all = append(all, s)
		}
		writes := func() (atOnce, later int) {
			memory.Writes = 0
			started := time.Now()
			for rests := false; !rests; {
				p := plan.Make(plan.Desired{Services: all}, state, plan.Scan{Started: now.read()}, big, now.read())
				apply.Run(p.Steps, memory, state, now.read)
				if rests = len(p.Steps) == 0; atOnce == 0 {
					atOnce = memory.Writes
					t.Logf("%d services with 10 backends: %d writes, planned and done in %v", size, atOnce, time.Since(started))
				}
			}
			return atOnce, memory.Writes - atOnce
		}
		if got, _ := writes(); got < 12*size {
			t.Errorf("%d services cost %d writes at the start: they have 10 backends each, slots and an entry", size, got)
		}
		changed := &all[size/2].Backends
		*changed = (*changed)[1:]
		if got, later := writes(); got > 3 || later > 1 {
			t.Errorf("one endpoint less of %d services costs %d writes and %d", size, got, later)
		}
		*changed = append((*changed)[1:len(*changed):len(*changed)], v1.Backend{Address: netip.MustParseAddr("10.1.0.1"), Port: 8080})
		if got, later := writes(); got > 4 || later > 1 {
			t.Errorf("another endpoint in place of one of %d services costs %d writes and %d", size, got, later)
		}
		if got, later := writes(); got+later != 0 {
			t.Errorf("no change of %d services costs %d writes and %d", size, got, later)
		}
	}
}
