package flow

import (
	"context"
	"fmt"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

// Datagrams that nobody answers (syslog, metrics, media one way) are a flow
// all the same, but the programs move a flow out of flows_new, where any flood
// may evict it, only when the peer answers. So a sweep moves those that have
// spoken since the sweep before. A flood of datagrams from ever new sources
// does not look like that, and what does is held to a share of the table.

// unansweredShare is the part of flows that flows without answers may fill.
const unansweredShare = 8

// candidates are the flows without answers that one sweep met.
type candidates struct {
	// waiting has the packets of those in flows_new, at most limit of them.
	waiting map[bpf.FlowKey]uint64
	// promoted counts those that stand in flows already.
	promoted int
	limit    int
}

func newCandidates(maxFlows uint32) candidates {
	return candidates{waiting: map[bpf.FlowKey]uint64{}, limit: int(maxFlows) / (2 * unansweredShare)}
}

func (c *candidates) note(table maps.FlowTable, k bpf.FlowKey, f bpf.Flow) {
	if k.Proto != udpProtocol {
		return
	}
	switch {
	case table == maps.Established && f.Flags&bpf.FlowReply != 0 && f.Packets == 0:
		c.promoted++
	case table == maps.HalfOpen && waits(f) && len(c.waiting) < c.limit:
		c.waiting[k] = f.Packets
	}
}

const udpProtocol = 17

// waits tells whether an entry of flows_new is a client's whose peer has not
// answered, and that nobody is about to replace.
func waits(f bpf.Flow) bool {
	return f.State == bpf.FlowHalfOpen && f.Flags&(bpf.FlowReply|bpf.FlowTaken) == 0
}

// promote moves the flows that waited at the last sweep too and have spoken
// since. It returns how many moved; the rest wait for the next sweep.
func (t *Table) promote(ctx context.Context, c candidates) (int, error) {
	before := t.waiting
	t.waiting = c.waiting
	moved := 0
	for key, packets := range c.waiting {
		if c.promoted+moved >= c.limit || ctx.Err() != nil {
			break
		}
		if last, ok := before[key]; !ok || packets <= last {
			continue
		}
		ok, err := t.promoteOne(key)
		if err != nil {
			return moved, fmt.Errorf("promote flow: %w", err)
		}
		if ok {
			delete(t.waiting, key)
			moved++
		}
	}
	return moved, nil
}

// promoteOne does what bpf/lib/halfopen.h does when an answer comes: reply
// entry first, then the client's, both only where there is none, and the
// entries in flows_new stay to age out. An answer that comes at the same time
// makes the same entries.
func (t *Table) promoteOne(key bpf.FlowKey) (bool, error) {
	flow, ok, err := t.maps.Flow(maps.HalfOpen, key)
	if err != nil || !ok || !waits(flow) {
		return false, err
	}
	replyKey := maps.PairKey(key, flow)
	reply, ok, err := t.maps.Flow(maps.HalfOpen, replyKey)
	if err != nil || !ok || maps.PairKey(replyKey, reply) != key || reply.Flags&bpf.FlowTaken != 0 {
		return false, err
	}
	flow.State, reply.State = bpf.FlowEstablished, bpf.FlowEstablished
	// The map may have given an entry away while it was read: the way is asked for again.
	flow.Nexthop, reply.Nexthop = 0, 0
	if ok, err := t.maps.InsertFlow(maps.Established, replyKey, reply); err != nil || !ok {
		return false, err
	}
	if ok, err := t.maps.InsertFlow(maps.Established, key, flow); err != nil || !ok {
		if undo := t.maps.DeleteFlow(maps.Established, replyKey); undo != nil {
			return false, undo
		}
		return false, err
	}
	for k, f := range map[bpf.FlowKey]bpf.Flow{key: flow, replyKey: reply} {
		if err := t.maps.ReplaceFlow(maps.HalfOpen, k, f); err != nil {
			return false, err
		}
	}
	return true, nil
}
