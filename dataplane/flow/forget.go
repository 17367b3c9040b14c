package flow

import (
	"context"
	"errors"
	"time"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

// orphanGrace is how long what a backend that has gone still answers finds its
// way: requests that were under way when their flow was forgotten.
const orphanGrace = time.Second

// Forget lets the next datagram of each client whose backend has gone make a new
// flow, without waiting for a sweep. Only the clients' entries go: answers that
// are under way still arrive, and Sweep takes what remains. A flow that a CPU
// makes from an old slot at this moment is left to the next call. It returns how
// many went, and may run beside Sweep.
func (t *Table) Forget(ctx context.Context, policy Policy) (total int, err error) {
	defer func() {
		if total > 0 {
			err = errors.Join(err, t.maps.DropCopies())
		}
	}()
	// What is half-open first: the rest of a flow there would bring it back.
	for _, table := range []maps.FlowTable{maps.HalfOpen, maps.Established} {
		var orphans []bpf.FlowKey
		err := t.maps.EachFlow(table, func(k bpf.FlowKey, f bpf.Flow) {
			if policy.orphaned(k, f) && f.Flags&bpf.FlowReply == 0 {
				orphans = append(orphans, k)
			}
		})
		if err != nil {
			return total, err
		}
		for i, key := range orphans {
			if i%flowsPerCheck == 0 && ctx.Err() != nil {
				return total, ctx.Err()
			}
			if err := t.forgetOne(table, key, policy); err != nil {
				return total, err
			}
			total++
		}
	}
	return total, nil
}

// forgetOne removes a client's entry. A first answer that comes later would
// promote the flow and bring it back, so the reply entry says that it is closed.
func (t *Table) forgetOne(table maps.FlowTable, key bpf.FlowKey, policy Policy) error {
	flow, ok, err := t.maps.Flow(table, key)
	if err != nil || !ok || !policy.orphaned(key, flow) {
		return err
	}
	if table == maps.HalfOpen && flow.State == bpf.FlowHalfOpen {
		replyKey := maps.PairKey(key, flow)
		reply, ok, err := t.maps.Flow(table, replyKey)
		if err != nil {
			return err
		}
		if ok && maps.PairKey(replyKey, reply) == key && reply.State == bpf.FlowHalfOpen {
			reply.State = bpf.FlowClosing
			if err := t.maps.ReplaceFlow(table, replyKey, reply); err != nil {
				return err
			}
		}
	}
	return t.maps.DeleteFlow(table, key)
}
