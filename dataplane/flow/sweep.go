package flow

import (
	"context"
	"errors"
	"time"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Swept is what one Sweep did.
type Swept struct {
	// Scan has what flows name; that of flows that were removed counts
	// as named until the next sweep.
	Scan plan.Scan
	// Removed counts connections and rests of such.
	Removed int
	// Promoted counts UDP flows without answers that moved to flows.
	Promoted int
	// Found counts the entries of flows before, Established those that are left.
	Found, Established uint32
}

// Sweep removes connections that are over by policy, both directions of each, of
// closed ones more in a table that fills (closedFor),
// promotes UDP flows by age, and returns what is named by flows on the way.
// now is when it starts, by the clock of plan.Make; ages come from the kernel's
// ticks, which no one can set. It takes the machine a third of the time, except
// while it removes what is over.
//
// A packet that comes in the microseconds between the last look at an entry
// and its removal finds no flow: a datagram makes a new one, a segment of TCP
// is dropped and repeated. That needs a connection that wakes up after its
// time-out to the very tick.
func (t *Table) Sweep(ctx context.Context, now time.Time, policy Policy) (swept Swept, err error) {
	instant, err := t.clock.Now(ctx)
	if err != nil {
		return Swept{}, err
	}
	ended := 0
	// An element that is freed may be another flow's at once, and a CPU that found it
	// just before may have copied that. So too where a sweep breaks off.
	defer func() {
		if ended > 0 {
			err = errors.Join(err, t.maps.DropCopies())
		}
	}()
	swept = Swept{Scan: newScan(now)}
	unanswered := newCandidates(t.maxFlows)
	rests := newRests()
	for _, table := range []maps.FlowTable{maps.HalfOpen, maps.Established} {
		entries := 0
		over := func(k bpf.FlowKey, f bpf.Flow) bool { return policy.over(k, f, table, instant) }
		removed, err := t.remove(ctx, table, over, func(k bpf.FlowKey, f bpf.Flow) {
			rests.next(ctx)
			entries++
			note(swept.Scan, k, f)
			unanswered.note(table, k, f)
		})
		ended += removed.connections
		if err != nil {
			return Swept{}, err
		}
		swept.Found, swept.Established = uint32(entries), uint32(max(0, entries-removed.entries)) // of the table that is swept last
	}
	made, err := t.makeRoom(ctx, instant, swept.Established)
	ended += made.connections
	swept.Removed = ended
	swept.Established -= min(swept.Established, uint32(made.entries))
	if err != nil {
		return Swept{}, err
	}
	swept.Promoted, err = t.promote(ctx, unanswered)
	swept.Established += 2 * uint32(swept.Promoted)
	return swept, err
}

// makeRoom removes closed connections early from a table of established flows
// that has so many entries, if that is crowded.
func (t *Table) makeRoom(ctx context.Context, instant Instant, entries uint32) (removed, error) {
	bound := closedFor(entries, t.maxFlows)
	if bound == tcpClosing {
		return removed{}, nil
	}
	over := func(_ bpf.FlowKey, f bpf.Flow) bool {
		return f.State == bpf.FlowClosing && instant.Since(f.LastSeen)-copyLag > bound
	}
	return t.remove(ctx, maps.Established, over, func(bpf.FlowKey, bpf.Flow) {})
}

// removed counts connections, rests of such among them, and their entries.
type removed struct{ connections, entries int }

// remove walks over a table, shows every entry to see, and removes connections
// both of whose directions are over.
func (t *Table) remove(
	ctx context.Context, table maps.FlowTable, over func(bpf.FlowKey, bpf.Flow) bool, see func(bpf.FlowKey, bpf.Flow),
) (removed, error) {
	var ended []bpf.FlowKey
	err := t.maps.EachFlow(table, func(k bpf.FlowKey, f bpf.Flow) {
		see(k, f)
		if over(k, f) {
			ended = append(ended, k)
		}
	})
	var sum removed
	if err != nil {
		return sum, err
	}
	for i, key := range ended {
		if i%flowsPerCheck == 0 && ctx.Err() != nil {
			return sum, ctx.Err()
		}
		entries, err := t.removeOne(table, key, over)
		if entries > 0 {
			sum.connections++
			sum.entries += entries
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// flowsPerCheck is how many entries are handled between looks at the context.
const flowsPerCheck = 1024

// removeOne looks at both directions again, because the entry may have become
// another connection's since it was listed, and removes both. It returns how
// many entries went.
func (t *Table) removeOne(table maps.FlowTable, key bpf.FlowKey, over func(bpf.FlowKey, bpf.Flow) bool) (int, error) {
	flow, ok, err := t.maps.Flow(table, key)
	if err != nil || !ok || !over(key, flow) {
		return 0, err
	}
	pairKey := maps.PairKey(key, flow)
	pair, ok, err := t.maps.Flow(table, pairKey)
	if err != nil {
		return 0, err
	}
	paired := ok && maps.PairKey(pairKey, pair) == key
	if paired && !over(pairKey, pair) {
		return 0, nil
	}
	gone := []bpf.FlowKey{key}
	switch {
	case paired && flow.Flags&bpf.FlowReply != 0:
		gone = []bpf.FlowKey{pairKey, key}
	case paired:
		gone = []bpf.FlowKey{key, pairKey}
	}
	// The client's entry first: while it is there, so is its answers'.
	for i, k := range gone {
		if err := t.maps.DeleteFlow(table, k); err != nil {
			return i, err
		}
	}
	return len(gone), nil
}
