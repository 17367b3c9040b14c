package dataplane

import (
	"context"
	"time"

	"github.com/weir-lb/weir/dataplane/flow"
	"github.com/weir-lb/weir/dataplane/plan"
)

// policy returns what flows are aged by now. The caller holds the lock.
func (d *Dataplane) policy() flow.Policy {
	if !d.told {
		return flow.Policy{}
	}
	return flow.Policy{
		IdleTimeouts: plan.IdleTimeouts(d.desired.Services, d.state),
		Gone:         plan.Gone(d.desired.Services, d.state),
	}
}

// noteGone asks for flows to be forgotten when backends have gone since it was
// called last. The caller holds the lock.
func (d *Dataplane) noteGone() {
	gone := d.policy().Gone
	added := false
	for id := range gone {
		added = added || !d.gone[id]
	}
	d.gone = gone
	if !added {
		return
	}
	select {
	case d.forget <- struct{}{}:
	default: // asked for already
	}
}

// forgetting removes UDP flows of backends that have gone, so that a client's next
// datagram finds one that is there. A sweep, which may be long, is not waited
// for; the next one sees to what this missed.
func (d *Dataplane) forgetting(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.forget:
		}
		d.mu.Lock()
		policy, closed := d.policy(), d.closed
		d.mu.Unlock()
		if closed {
			continue
		}
		if _, err := d.flows.Forget(ctx, policy); err != nil {
			return err
		}
	}
}

// sweep removes idle flows, then frees the ids that no flow names and tries
// services again that had no room. It returns how soon the next one is due.
func (d *Dataplane) sweep(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	d.mu.Lock()
	policy := d.policy()
	d.mu.Unlock()
	if len(policy.Gone) > 0 {
		if _, err := d.flows.Forget(ctx, policy); err != nil {
			return sweepRetry, err
		}
	}
	swept, err := d.flows.Sweep(ctx, began, policy)
	if err != nil {
		return sweepRetry, err
	}
	capacity := d.maps.FlowCapacity()
	d.fill.Note(swept.Established, capacity)
	next := d.pace.Next(began, swept, capacity)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scan = swept.Scan
	if d.closed || !d.state.Resting() && !d.waiting {
		return next, nil
	}
	d.reconcile()
	return next, nil
}
