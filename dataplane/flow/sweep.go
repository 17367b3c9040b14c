package flow

import (
	"context"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Swept is what one Sweep did.
type Swept struct {
	// Scan has the ids that flows name; ids of flows that were removed count
	// as named until the next sweep.
	Scan plan.Scan
	// Removed counts connections and rests of such.
	Removed int
	// Promoted counts UDP flows without answers that moved to flows.
	Promoted int
}

// Sweep removes idle connections, both directions of each, promotes UDP flows
// by age, and returns what is named by flows on the way. now is when it starts, by the clock of
// plan.Make.
//
// A packet that comes in the microseconds between the last look at an entry
// and its removal finds no flow: a datagram makes a new one, a segment of TCP
// is dropped and repeated. That needs a connection that wakes up after its
// time-out to the very tick.
func (t *Table) Sweep(ctx context.Context, now time.Time) (Swept, error) {
	instant, err := t.clock.Now(ctx)
	if err != nil {
		return Swept{}, err
	}
	swept := Swept{Scan: newScan(now)}
	unanswered := newCandidates(t.maxFlows)
	for _, table := range []maps.FlowTable{maps.HalfOpen, maps.Established} {
		var aged []bpf.FlowKey
		err := t.maps.EachFlow(table, func(k bpf.FlowKey, f bpf.Flow) {
			note(swept.Scan, f)
			unanswered.note(table, k, f)
			if expired(k, f, table, instant) {
				aged = append(aged, k)
			}
		})
		if err != nil {
			return Swept{}, err
		}
		n, err := t.removeAged(ctx, table, aged, instant)
		swept.Removed += n
		if err != nil {
			return Swept{}, err
		}
	}
	swept.Promoted, err = t.promote(ctx, unanswered)
	return swept, err
}

func expired(k bpf.FlowKey, f bpf.Flow, table maps.FlowTable, now Instant) bool {
	limit := timeout(v1.ProtocolFromNumber(k.Proto), f.State, table == maps.HalfOpen)
	return now.Since(f.LastSeen) > limit
}

// removeAged removes those whose other direction is idle too.
func (t *Table) removeAged(ctx context.Context, table maps.FlowTable, aged []bpf.FlowKey, now Instant) (int, error) {
	removed := 0
	for i, key := range aged {
		if i%flowsPerCheck == 0 && ctx.Err() != nil {
			return removed, ctx.Err()
		}
		gone, err := t.removeIdle(table, key, now)
		if err != nil {
			return removed, err
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

// flowsPerCheck is how many entries are handled between looks at the context.
const flowsPerCheck = 1024

// removeIdle looks at both directions again, because the entry may have
// become another connection's since it was listed, and removes both.
func (t *Table) removeIdle(table maps.FlowTable, key bpf.FlowKey, now Instant) (bool, error) {
	flow, ok, err := t.maps.Flow(table, key)
	if err != nil || !ok || !expired(key, flow, table, now) {
		return false, err
	}
	pairKey := maps.PairKey(key, flow)
	pair, ok, err := t.maps.Flow(table, pairKey)
	if err != nil {
		return false, err
	}
	paired := ok && maps.PairKey(pairKey, pair) == key
	if paired && !expired(pairKey, pair, table, now) {
		return false, nil
	}
	gone := []bpf.FlowKey{key}
	switch {
	case paired && flow.Flags&bpf.FlowReply != 0:
		gone = []bpf.FlowKey{pairKey, key}
	case paired:
		gone = []bpf.FlowKey{key, pairKey}
	}
	// The client's entry first: while it is there, so is its answers'.
	for _, k := range gone {
		if err := t.maps.DeleteFlow(table, k); err != nil {
			return false, err
		}
	}
	return true, nil
}
