package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// recorder is a Dataplane and, through speaker, a Speaker that keep what they
// are given. It can be told to fail.
type recorder struct {
	mu       sync.Mutex
	applies  int
	failures int // so many applies fail as a whole
	block    chan struct{}
	entered  chan struct{}   // told of applies that block, if not nil
	refuse   map[uint16]bool // ports that cannot be programmed
	services []v1.ServiceStatus
	wrong    []v1.Condition
	stopped  error // what Run returns at once, if not nil
	changed  chan struct{}
	dead     map[uint16]bool // ports of services whose only backend is down

	bgpFailures int
	bgp         *v1.BGP
	announced   []v1.Service
	bgpApplies  int
}

func (r *recorder) Apply(ctx context.Context, services []v1.Service, _ []v1.Role) ([]v1.ServiceStatus, error) {
	if r.block != nil {
		select {
		case r.entered <- struct{}{}:
		default:
		}
		select {
		case <-r.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applies++
	if r.failures > 0 {
		r.failures--
		return nil, errors.New("maps are full")
	}
	var all []v1.ServiceStatus
	r.services = nil
	for _, s := range services {
		status := v1.ServiceStatus{Service: s, Programmed: !r.refuse[s.Port]}
		status.BackendStates = []v1.BackendStatus{{State: v1.BackendActive}}
		if r.dead[s.Port] {
			status.BackendStates[0].State = v1.BackendInactive
		}
		if status.Programmed {
			r.services = append(r.services, status)
		} else {
			status.Conditions = []v1.Condition{{Type: v1.ConditionProgrammed, Reason: "NoSlots", Message: "no slots left"}}
		}
		all = append(all, status)
	}
	return all, nil
}

func (r *recorder) Services(context.Context) ([]v1.ServiceStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.services, nil
}

func (r *recorder) Statuses(ctx context.Context) ([]v1.ServiceStatus, error) { return r.Services(ctx) }

func (r *recorder) Flows(context.Context) ([]v1.Flow, error) { return nil, nil }

func (r *recorder) Counters(context.Context) (v1.Counters, error) {
	return v1.Counters{In: 3, Forwarded: 2, Passed: 1}, nil
}

func (r *recorder) BackendsChanged() <-chan struct{} { return r.changed }

func (r *recorder) FlowTable() v1.FlowTable { return v1.FlowTable{Entries: 5, Capacity: 4096} }

func (r *recorder) Conditions() []v1.Condition { return r.wrong }

func (r *recorder) Interfaces() []v1.Interface { return []v1.Interface{{Name: "eth0", Hook: "tc"}} }

func (r *recorder) Run(ctx context.Context) error {
	if r.stopped != nil {
		return r.stopped
	}
	<-ctx.Done()
	return ctx.Err()
}

func (r *recorder) Close() error { return nil }

// state reads under the lock.
func (r *recorder) count() (applies, bgpApplies int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applies, r.bgpApplies
}

func (r *recorder) ports() (announced []uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.announced {
		announced = append(announced, s.Port)
	}
	return announced
}

// speaker is the BGP side of a recorder.
type speaker struct{ *recorder }

func (s speaker) Apply(_ context.Context, cfg *v1.BGP, services []v1.Service, _ []v1.Role) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bgpApplies++
	if s.bgpFailures > 0 {
		s.bgpFailures--
		return errors.New("port 179 is taken")
	}
	s.bgp, s.announced = cfg, services
	return nil
}

func (s speaker) Status(context.Context) (*v1.BGPStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bgp == nil {
		return nil, nil
	}
	return &v1.BGPStatus{ASN: s.bgp.ASN}, nil
}

// start runs a node until the test ends, with pauses of milliseconds.
func start(t *testing.T, o Options) *Node {
	t.Helper()
	o.Name, o.Version = "master1", "v0"
	o.Log = slog.New(slog.DiscardHandler)
	if o.RetryMin == 0 {
		o.RetryMin, o.RetryMax = time.Millisecond, 4*time.Millisecond
	}
	n := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return n
}

func mustPut(t *testing.T, n *Node, owner string, s v1.NodeState) {
	t.Helper()
	if _, err := n.Put(owner, s); err != nil {
		t.Fatal(err)
	}
}

// applied tells whether everything that owners asked for is in force.
func applied(n *Node) bool {
	for _, o := range n.Observed(context.Background()).Owners {
		if o.Applied != o.Desired || o.Error != "" {
			return false
		}
	}
	return true
}
