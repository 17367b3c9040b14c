package node

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/fib"
)

const (
	// settle is how long a burst of changes is collected. It is the price of
	// a failover, so it stays far below the hold time.
	settle = 20 * time.Millisecond
	// resync bounds how long the kernel may differ without our knowing.
	resync = 30 * time.Second
	// firstRetry to lastRetry is the back-off for what the speaker refuses,
	// and for kernel notifications that could not be had.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Run keeps the kernel's routes as the speaker learns them until ctx ends,
// and returns nil. All goroutines of the node are its.
func (n *Node) Run(ctx context.Context) error {
	kernelChanged := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { n.watchKernel(ctx, kernelChanged); return nil })
	g.Go(func() error { n.loop(ctx, kernelChanged); return nil })
	return g.Wait()
}

// watchKernel signals changed after changes of the kernel. When notifications
// were lost, anything may have changed.
func (n *Node) watchKernel(ctx context.Context, changed chan<- struct{}) {
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		if err := n.options.Kernel.Watch(ctx, notify); err == nil {
			return // ctx ended
		}
		notify()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// loop syncs after every change, when a retry is due, and from time to time.
func (n *Node) loop(ctx context.Context, kernelChanged <-chan struct{}) {
	gate := sweepGate{began: time.Now(), after: n.options.SweepAfter}
	var reconfigure retry
	for {
		now := time.Now()
		if reconfigure.due(now, n.failed()) {
			n.reconfigure(ctx)
		}
		next := n.sync(ctx, now, &gate)
		timer := time.NewTimer(time.Until(earliest(next, reconfigure.at, now.Add(resync))))
		select {
		case <-ctx.Done():
		case <-n.kick:
		case <-n.options.Speaker.Watch():
		case <-kernelChanged:
			n.table.RetryNow()
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil || !pause(ctx, settle) {
			return
		}
	}
}

// pause waits for d and is false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (n *Node) failed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure != nil
}

// reconfigure tries again what the speaker refused; configure keeps the error.
func (n *Node) reconfigure(ctx context.Context) {
	n.applying.Lock()
	defer n.applying.Unlock()
	if n.failed() {
		_ = n.configure(ctx)
	}
}

// sync brings the kernel to what the speaker knows, and returns when that has
// to be done again; zero for no particular time.
func (n *Node) sync(ctx context.Context, now time.Time, gate *sweepGate) time.Time {
	state, err := n.options.Speaker.State(ctx)
	if err != nil {
		n.keep(fib.Result{}, fmt.Errorf("read learned routes: %w", err))
		return now.Add(firstRetry)
	}
	n.weigh(state.Sessions)
	n.mu.Lock()
	w := n.wanted
	n.mu.Unlock()
	var want fib.Wanted
	if w != nil {
		want = fib.Wanted{Routes: state.Routes, VIPs: w.cfg.VIPs, Originated: w.originated()}
	}
	open := gate.open(now, w, state.Sessions)
	result, err := n.table.Sync(now, want, open)
	n.keep(result, err)
	if err != nil {
		return now.Add(firstRetry)
	}
	if !open {
		return earliest(result.RetryAt, gate.opensAt)
	}
	return result.RetryAt
}

func (n *Node) keep(r fib.Result, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.readFailure = err
	if err == nil {
		n.result = r
	}
}

// earliest returns the earliest time that is not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// retry is a back-off. The zero value is ready.
type retry struct {
	wait time.Duration
	// at is when to try next; zero while there is nothing to retry.
	at time.Time
}

// due says whether to try now. It is called in every turn, so that it sees
// when the failure is over.
func (r *retry) due(now time.Time, failing bool) bool {
	if !failing {
		*r = retry{}
		return false
	}
	due := !r.at.IsZero() && !now.Before(r.at)
	if due || r.at.IsZero() {
		r.wait = max(firstRetry, min(2*r.wait, lastRetry))
		r.at = now.Add(r.wait)
	}
	return due
}

// sweepGate decides when routes of an earlier run need no longer wait: once
// every peer said End-of-RIB, or the time is up. It does not close again.
type sweepGate struct {
	began   time.Time
	after   time.Duration
	opensAt time.Time
	opened  bool
	// ran is true once BGP was configured in this run.
	ran bool
}

func (g *sweepGate) open(now time.Time, w *wanted, sessions []bgp.Session) bool {
	g.opensAt = g.began.Add(g.after)
	if w != nil {
		g.ran = true
		g.opensAt = w.since.Add(g.after)
	}
	// BGP that was configured, and is not any more, was turned off by
	// somebody: nothing will confirm the routes.
	stopped := w == nil && g.ran
	if stopped || !now.Before(g.opensAt) || w != nil && confirmed(w.config.Peers, sessions) {
		g.opened = true
	}
	return g.opened
}

// confirmed is true when every peer has told all it has. Without peers nobody
// told anything.
func confirmed(peers []bgp.Peer, sessions []bgp.Session) bool {
	done := make(map[netip.Addr]bool, len(sessions))
	for _, s := range sessions {
		done[s.Address] = s.State == bgp.Established && s.EndOfRIB
	}
	for _, p := range peers {
		if !done[p.Address] {
			return false
		}
	}
	return len(peers) > 0
}
