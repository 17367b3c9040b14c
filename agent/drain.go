package agent

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

const (
	// drainAtLeast is how long a node goes on forwarding after it has withdrawn
	// its VIPs: its peers, and theirs, take over what they were told.
	drainAtLeast = 2 * time.Second
	// drainQuiet without a forwarded packet means that nobody sends here.
	drainQuiet = time.Second
	// drainAtMost bounds the wait for flows that cannot go another way.
	drainAtMost = 20 * time.Second
	// drainPoll is how often the counters are read meanwhile.
	drainPoll = 100 * time.Millisecond
)

// Drain ends the node's work for good: it withdraws the VIPs, goes on
// forwarding until nobody sends here any more, then ends Run. The error says
// that the withdrawal failed; the node works on then, as it does when ctx ends
// before the VIPs are withdrawn.
func (n *Node) Drain(ctx context.Context) error {
	if err := n.withdraw(ctx); err != nil {
		return err
	}
	n.opts.Log.Info("service addresses withdrawn, waiting for the peers")
	n.quiet(ctx)
	n.drainOnce.Do(func() { close(n.drained) })
	return nil
}

// StopIfDrained drains the node if an owner says that it is drained
// (v1.NodeState), and tells whether it did. Where not, and where that failed, the
// end that is asked for is a restart: the caller ends Run.
func (n *Node) StopIfDrained(ctx context.Context) bool {
	if !n.desired().Drained {
		return false
	}
	n.opts.Log.Info("this node is drained (kubectl drain or cordon), so the signal means a stop: service addresses are withdrawn, and nothing is left here")
	if err := n.Drain(ctx); err != nil {
		n.opts.Log.Error("drain failed, so the signal means a restart", "error", err)
		return false
	}
	return true
}

// Drained tells whether Run ended because the node was drained.
func (n *Node) Drained() bool {
	select {
	case <-n.drained:
		return true
	default:
		return false
	}
}

// withdraw takes back all VIPs; no step of the loop announces any again.
func (n *Node) withdraw(ctx context.Context) error {
	n.stepping.Lock()
	defer n.stepping.Unlock()
	if err := n.announce(ctx, n.desired(), nil); err != nil {
		return fmt.Errorf("withdraw service addresses: %w", err)
	}
	n.withdrawn = true
	return nil
}

// quiet waits until nothing is forwarded any more, within bounds.
func (n *Node) quiet(ctx context.Context) {
	if n.opts.Dataplane == nil || n.opts.Speaker == nil {
		return // nobody was told to send here
	}
	ctx, cancel := context.WithTimeout(ctx, drainAtMost)
	defer cancel()
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	began, changed := time.Now(), time.Now()
	var last uint64
	for {
		select {
		case <-ctx.Done():
			n.opts.Log.Warn("packets still come, ending all the same", "waited", time.Since(began).Round(time.Second))
			return
		case <-poll.C:
		}
		var c v1.Counters
		if now, err := n.opts.Dataplane.Counters(ctx); err == nil {
			c = now
		}
		if c.Forwarded != last {
			last, changed = c.Forwarded, time.Now()
		}
		if time.Since(began) >= drainAtLeast && time.Since(changed) >= drainQuiet {
			return
		}
	}
}
