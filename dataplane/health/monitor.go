package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/weir-lb/weir/api/v1"
)

// concurrency bounds the probes under way, and so the sockets. 5000 endpoints
// that are silent (a probe takes DefaultTimeout then) are still on time.
const concurrency = 1024

// Target is what is probed: once, however many services lead to it.
type Target struct {
	Protocol v1.Protocol
	Address  netip.AddrPort
}

// Status is what is known of a target.
type Status struct {
	// Down says that the target gets no new flows.
	Down bool
	// Probe is the last result, nil before the first.
	Probe *v1.Probe
}

// ErrInconclusive is in the error of a probe that says nothing of its target:
// this node could not ask.
var ErrInconclusive = errors.New("not asked")

// Prober asks one target once. *Network is the real one.
type Prober interface {
	// Probe returns how long the answer took, zero where silence is the
	// answer, and why the target is unhealthy in one line. It returns when
	// ctx ends, whose deadline is how long an answer may take. Safe for
	// concurrent use.
	Probe(ctx context.Context, t Target) (time.Duration, error)
}

// Monitor probes the targets that Watch names. Safe for concurrent use.
type Monitor struct {
	prober  Prober
	timing  Timing
	random  func() float64
	wake    chan struct{}
	changed chan struct{}

	mu        sync.Mutex
	endpoints map[Target]*endpoint
	queue     queue
}

type endpoint struct {
	target   Target
	verdict  verdict
	last     *v1.Probe
	probes   int
	due      time.Time
	position int // in the queue
}

// New returns a Monitor that watches nothing; the zero Timing means Defaults.
func New(p Prober, t Timing) *Monitor {
	if t == (Timing{}) {
		t = Defaults
	}
	return &Monitor{
		prober: p, timing: t, random: rand.Float64,
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		endpoints: map[Target]*endpoint{},
	}
}

// Changed receives when a target has gone down or has come back.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Watch makes targets the whole set that is probed. What is known of those
// that stay is kept, of others forgotten. A target may be named twice.
func (m *Monitor) Watch(targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	kept := make(map[Target]*endpoint, len(targets))
	for _, t := range targets {
		if kept[t] != nil {
			continue
		}
		e := m.endpoints[t]
		if e == nil {
			e = &endpoint{target: t, due: m.timing.first(now, m.random()), position: absent}
			m.queue.add(e)
		}
		kept[t] = e
	}
	for t, e := range m.endpoints {
		if kept[t] == nil {
			m.queue.remove(e)
		}
	}
	m.endpoints = kept
	signal(m.wake)
}

// Report returns what is known of every target that is watched.
func (m *Monitor) Report() map[Target]Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	report := make(map[Target]Status, len(m.endpoints))
	for t, e := range m.endpoints {
		report[t] = Status{Down: e.verdict.down, Probe: e.last}
	}
	return report
}

// Run probes until ctx ends; probes under way have ended when it returns.
func (m *Monitor) Run(ctx context.Context) error {
	var probes errgroup.Group
	probes.SetLimit(concurrency)
	defer func() { _ = probes.Wait() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-timer.C:
		}
		for ctx.Err() == nil {
			e, rest := m.takeDue(time.Now())
			if e == nil {
				timer.Reset(rest)
				break
			}
			probes.Go(func() error { m.probe(ctx, e); return nil }) // waits for room
		}
	}
}

// idle is how long nothing happens while nothing is watched.
const idle = time.Hour

// takeDue returns an endpoint whose time has come, else how long to rest.
func (m *Monitor) takeDue(now time.Time) (*endpoint, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil, idle
	}
	if rest := m.queue[0].due.Sub(now); rest > 0 {
		return nil, rest
	}
	return m.queue.take(), 0
}

// probe asks once and takes the answer in, unless Run ends meanwhile.
func (m *Monitor) probe(ctx context.Context, e *endpoint) {
	within, cancel := context.WithTimeout(ctx, m.timing.Timeout)
	defer cancel()
	started := time.Now()
	latency, err := m.prober.Probe(within, e.target)
	if ctx.Err() != nil {
		return
	}
	m.take(e, started, latency, err)
}

// take records a result and schedules the next probe. One that nobody waits
// for any more is dropped.
func (m *Monitor) take(e *endpoint, started time.Time, latency time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.endpoints[e.target] != e {
		return
	}
	ended := time.Now()
	e.last = &v1.Probe{Type: string(e.target.Protocol), Healthy: err == nil, Latency: latency, Last: ended}
	if err != nil {
		e.last.Error = err.Error()
	}
	was := e.verdict.down
	if !errors.Is(err, ErrInconclusive) {
		e.verdict = e.verdict.after(err == nil, m.timing.Retries)
	}
	e.probes++
	e.due = m.timing.next(e.verdict, e.probes, started, ended, m.random())
	m.queue.add(e)
	signal(m.wake)
	if e.verdict.down != was {
		signal(m.changed)
	}
}

// signal sends unless something is waiting to be received already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
