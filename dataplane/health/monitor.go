package health

import (
	"container/heap"
	"context"
	"errors"
	"maps"
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
	// icmp is the interval of ICMP errors that hosts keep to.
	icmp time.Duration

	mu        sync.Mutex
	endpoints map[Target]*endpoint
	queue     queue
	lanes     map[netip.Addr]*lane
	// restored are verdicts of an earlier run on targets that nobody has
	// named yet.
	restored map[Target]v1.Probe
}

type endpoint struct {
	target   Target
	timing   Timing
	verdict  verdict
	since    time.Time // when the verdict was made
	last     *v1.Probe
	probes   int
	due      time.Time
	wanted   time.Time // due, before it had to wait for its lane
	charged  bool      // to its lane, for the probe under way
	refused  bool      // the last probe took an ICMP error of its host's
	position int       // in the queue
}

// New returns a Monitor that watches nothing. The Timing is for targets that
// have none of their own; the zero one means Defaults.
func New(p Prober, t Timing) *Monitor {
	if t == (Timing{}) {
		t = Defaults
	}
	return &Monitor{
		prober: p, timing: t, random: rand.Float64, icmp: icmpInterval,
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		endpoints: map[Target]*endpoint{}, lanes: map[netip.Addr]*lane{}, restored: map[Target]v1.Probe{},
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
			e = m.newEndpoint(t, now)
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
	m.forgetLanes()
	signal(m.wake)
}

// newEndpoint has the verdict of an earlier run, where there is one.
func (m *Monitor) newEndpoint(t Target, now time.Time) *endpoint {
	e := &endpoint{target: t, timing: m.timing.with(t.Spec), since: now, position: absent}
	e.due = e.timing.first(now, m.random())
	e.wanted = e.due
	if p, ok := m.restored[t]; ok {
		delete(m.restored, t)
		e.verdict, e.since, e.last = verdict{down: true}, p.Since, &p
	}
	return e
}

// forgetLanes drops those of addresses that are no longer probed.
func (m *Monitor) forgetLanes() {
	if len(m.lanes) == 0 {
		return
	}
	named := map[netip.Addr]bool{}
	for t := range m.endpoints {
		named[t.Address.Addr()] = true
	}
	maps.DeleteFunc(m.lanes, func(a netip.Addr, _ *lane) bool { return !named[a] })
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
	for len(m.queue) > 0 {
		e := m.queue[0]
		if rest := e.due.Sub(now); rest > 0 {
			return nil, rest
		}
		if m.admit(e, now) {
			return m.queue.take(), 0
		}
		heap.Fix(&m.queue, 0)
	}
	return nil, idle
}

// admit lets an endpoint be asked now, or makes it due later.
func (m *Monitor) admit(e *endpoint, now time.Time) bool {
	if !e.waits() {
		return true
	}
	l := m.lane(e.target.Address.Addr())
	if ready := l.ready(e.verdict, m.icmp); ready.After(now) {
		e.due = ready
		return false
	}
	l.charge(now, m.icmp)
	e.charged = true
	return true
}

// waits says that an endpoint is asked only when its host has an ICMP error left:
// because nothing else tells that it is dead, or because it is known to be, by such
// an error, and others on that host may need the next one.
func (e *endpoint) waits() bool {
	if e.target.silent() {
		return e.verdict.down || e.verdict.inDoubt()
	}
	return e.verdict.down && e.refused
}

// account settles what a probe has cost its lane.
func (m *Monitor) account(e *endpoint, err error, now time.Time) {
	e.refused = errors.As(err, new(refusal))
	costs := e.refused
	if e.target.silent() {
		costs = err != nil && !errors.Is(err, ErrInconclusive)
	}
	switch {
	case !costs && e.charged:
		m.lane(e.target.Address.Addr()).refund(m.icmp)
	case costs && !e.charged:
		m.lane(e.target.Address.Addr()).charge(now, m.icmp)
	}
	e.charged = false
}

// probe asks once and takes the answer in, unless Run ends meanwhile.
func (m *Monitor) probe(ctx context.Context, e *endpoint) {
	within, cancel := context.WithTimeout(ctx, e.timing.Timeout)
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
	was := e.verdict.down
	m.account(e, err, ended)
	if !errors.Is(err, ErrInconclusive) {
		e.verdict = e.verdict.after(err == nil, e.timing.Retries)
	}
	if e.verdict.down != was {
		e.since = ended
	}
	e.last = &v1.Probe{Type: string(e.target.Type), Healthy: err == nil, Latency: latency, Last: ended, Since: e.since}
	if err != nil {
		e.last.Error = err.Error()
	}
	e.probes++
	e.due = e.timing.next(e.verdict, e.probes, started, ended, m.random())
	e.wanted = e.due
	m.queue.add(e)
	signal(m.wake)
	if e.verdict.down != was {
		signal(m.changed)
	}
}

// lane returns that of an address.
func (m *Monitor) lane(a netip.Addr) *lane {
	l := m.lanes[a]
	if l == nil {
		l = &lane{}
		m.lanes[a] = l
	}
	return l
}

// signal sends unless something is waiting to be received already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
