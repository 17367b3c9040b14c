package push

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Owner is whose part of a node's state the controller replaces.
const Owner = "controller"

// Options of a Pusher. Epoch and Dial are required.
type Options struct {
	// Epoch of all generations: larger than that of any controller before.
	Epoch uint64
	// Dial makes the client of a node; it connects to nothing yet.
	Dial func(Target) (Node, error)
	// Pushed is told how long each attempt to change a node's state took and
	// how it ended. Optional; it is called from several goroutines.
	Pushed func(node string, took time.Duration, err error)
	// Owner is optional; empty means the constant Owner.
	Owner string
	// RetryMin and RetryMax bound the pause after a failure, which doubles
	// from one to the next. Optional; zero means 200 ms and 5 s.
	RetryMin, RetryMax time.Duration
	// Poll is how often a node that has all is asked whether it still has.
	// Optional; zero means 1 s.
	Poll time.Duration
	// Timeout of one request. Optional; zero means 10 s.
	Timeout time.Duration
	// Report is how often a load balancer node is asked how its services fare;
	// it is besides Poll after it accepted a state. Optional; zero means 10 s.
	Report time.Duration
	// ReportTimeout of one such question. A change waits for it. Optional; zero
	// means 2 s.
	ReportTimeout time.Duration
	// ReportLost is how long what a node said last holds while it says nothing.
	// Optional; zero means 30 s.
	ReportLost time.Duration
	// RemoveFor is how long a node that left the cluster is tried to be given
	// an empty state. Optional; zero means 30 s.
	RemoveFor time.Duration
}

func (o *Options) fillIn() {
	if o.Pushed == nil {
		o.Pushed = func(string, time.Duration, error) {}
	}
	o.Owner = cmp.Or(o.Owner, Owner)
	o.RetryMin = cmp.Or(o.RetryMin, 200*time.Millisecond)
	o.RetryMax = cmp.Or(o.RetryMax, 5*time.Second)
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Report = cmp.Or(o.Report, 10*time.Second)
	o.ReportTimeout = cmp.Or(o.ReportTimeout, 2*time.Second)
	o.ReportLost = cmp.Or(o.ReportLost, 30*time.Second)
	o.RemoveFor = cmp.Or(o.RemoveFor, 30*time.Second)
}

// Pusher has a worker for every node. Its methods are safe for concurrent use.
type Pusher struct {
	opts Options
	wake chan struct{}
	// reported is signalled when a node's report is news.
	reported chan struct{}

	mu      sync.Mutex
	workers map[netip.AddrPort]*worker
	// sequence counts for all nodes together: a node that leaves and comes
	// back must not meet a number that it had.
	sequence uint64
}

// New returns a Pusher that does nothing before Run.
func New(opts Options) *Pusher {
	opts.fillIn()
	return &Pusher{
		opts: opts, wake: make(chan struct{}, 1), reported: make(chan struct{}, 1), workers: map[netip.AddrPort]*worker{},
	}
}

// Set says what all nodes should have: the whole set. A node that is no
// longer in it gets an empty state. A node's generation only moves where its
// state differs from the last one.
func (p *Pusher) Set(targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := make(map[netip.AddrPort]bool, len(targets))
	for _, t := range targets {
		wanted[t.key()] = true
		w := p.workers[t.key()]
		if w == nil {
			w = newWorker(p, t.key())
			p.workers[t.key()] = w
		}
		w.want(t, p.next)
	}
	for key, w := range p.workers {
		if !wanted[key] {
			w.remove(time.Now(), p.next)
		}
	}
	signal(p.wake)
}

// next is the next sequence number; the caller holds the lock.
func (p *Pusher) next() uint64 {
	p.sequence++
	return p.sequence
}

// Run pushes until ctx ends and returns when all workers have.
func (p *Pusher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		for _, w := range p.unstarted() {
			running.Go(func() { w.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

func (p *Pusher) unstarted() []*worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*worker
	for _, w := range p.workers {
		if !w.started {
			w.started = true
			out = append(out, w)
		}
	}
	return out
}

// finish drops a worker whose node is gone; false says that the node came
// back meanwhile.
func (p *Pusher) finish(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.removed() {
		return false
	}
	delete(p.workers, w.key)
	return true
}

// Mark names all that was Set so far, for Behind.
func (p *Pusher) Mark() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sequence
}

// Behind lists the nodes, by name, that have not accepted all that was Set by
// mark. Nodes that left count until they are given up.
func (p *Pusher) Behind(mark uint64) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, w := range p.workers {
		if w.behind(mark) {
			names = append(names, w.current().Name)
		}
	}
	slices.Sort(names)
	return names
}

// Status tells of every node, load balancers first, then by address.
func (p *Pusher) Status() []v1.ControllerNode {
	p.mu.Lock()
	out := make([]v1.ControllerNode, 0, len(p.workers))
	for _, w := range p.workers {
		out = append(out, w.status())
	}
	p.mu.Unlock()
	slices.SortFunc(out, func(a, b v1.ControllerNode) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), a.Address.Compare(b.Address), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// signal wakes whoever waits on c, or is about to.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
