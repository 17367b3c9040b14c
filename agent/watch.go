package agent

import (
	"context"
	"slices"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// watchInterval is how often the node's own conditions are looked at.
const watchInterval = 5 * time.Second

// watch logs the conditions of the node as a whole that come and go, for those
// who read logs and not GET /v1/observed.
func (n *Node) watch(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last []v1.Condition
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := n.conditions()
			n.logChanges(last, now)
			last = now
		}
	}
}

// logChanges tells conditions apart by type and reason: the numbers in a message
// may differ each time.
func (n *Node) logChanges(before, now []v1.Condition) {
	for _, c := range now {
		if !has(before, c) {
			n.opts.Log.Warn("condition of this node", "type", c.Type, "reason", c.Reason, "message", c.Message)
		}
	}
	for _, c := range before {
		if !has(now, c) {
			n.opts.Log.Info("condition of this node is over", "type", c.Type, "reason", c.Reason)
		}
	}
}

func has(all []v1.Condition, c v1.Condition) bool {
	return slices.ContainsFunc(all, func(other v1.Condition) bool { return other.Type == c.Type && other.Reason == c.Reason })
}
