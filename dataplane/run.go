package dataplane

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// sweepRetry is until the first sweep, and after one that failed.
	sweepRetry = 10 * time.Second
	// retryInterval is between attempts to write what failed to be written.
	retryInterval = time.Second
	// settle is how long changes of health are gathered before one plan
	// takes them all over: a node that dies takes many endpoints with it.
	settle = 50 * time.Millisecond
	// sweepFailures in a row mean that the flows cannot be kept any more.
	sweepFailures = 6
)

// Run follows interfaces, routes and neighbours, probes backends, sweeps idle
// flows and tries again what failed, until ctx ends. The error is nil then;
// else it says what cannot be followed any more.
func (d *Dataplane) Run(ctx context.Context) error {
	group, within := errgroup.WithContext(ctx)
	group.Go(func() error { return d.hooks.Run(within) })
	group.Go(func() error { return d.keeper.Run(within) })
	group.Go(func() error { return d.health.Run(within) })
	if d.uplinks != nil {
		group.Go(func() error { return d.uplinks.Run(within) })
	}
	group.Go(func() error { return d.maintain(within) })
	group.Go(func() error { return d.sweeping(within) })
	group.Go(func() error { return d.forgetting(within) })
	err := group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (d *Dataplane) maintain(ctx context.Context) error {
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	var settled <-chan time.Time
	var routed <-chan struct{}
	if d.uplinks != nil {
		routed = d.uplinks.Changed()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.keeper.Changed():
			d.follow()
		case <-d.hooks.Changed():
			d.follow()
		case <-routed:
			d.reroute()
		case <-d.health.Changed():
			if settled == nil {
				settled = time.After(settle)
			}
		case <-settled:
			settled = nil
			d.follow()
			d.keepVerdicts()
		case <-retry.C:
			d.retry()
		}
	}
}

// sweeping sweeps again and again. It is no part of maintain: a sweep that finds a
// million flows over takes seconds, and no dead backend is to wait for that.
func (d *Dataplane) sweeping(ctx context.Context) error {
	sweep := time.NewTimer(sweepRetry)
	defer sweep.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sweep.C:
		}
		d.keepVerdicts()
		next, err := d.sweep(ctx)
		sweep.Reset(next)
		if err == nil {
			failures = 0
		} else if failures++; failures == sweepFailures {
			return err
		}
	}
}

// follow takes over what has changed on the way to the backends, and with them.
func (d *Dataplane) follow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.take(d.keeper.Paths())
	d.reconcile()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// BackendsChanged receives when backends may have become active or have ceased
// to be, and the slots have followed. It is for one receiver.
func (d *Dataplane) BackendsChanged() <-chan struct{} { return d.changed }

func (d *Dataplane) retry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again && !d.closed {
		d.reconcile()
	}
}
