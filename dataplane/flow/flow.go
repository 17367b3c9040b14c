// Package flow reads the flows that the programs keep, and sweeps those that
// are idle for longer than their protocol's time-out.
package flow

import (
	"context"
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Maps holds the flows. *maps.Maps is the real one.
type Maps interface {
	EachFlow(maps.FlowTable, func(bpf.FlowKey, bpf.Flow)) error
	Flow(maps.FlowTable, bpf.FlowKey) (bpf.Flow, bool, error)
	DeleteFlow(maps.FlowTable, bpf.FlowKey) error
	InsertFlow(maps.FlowTable, bpf.FlowKey, bpf.Flow) (bool, error)
	ReplaceFlow(maps.FlowTable, bpf.FlowKey, bpf.Flow) error
	EachCopy(func(bpf.Cached)) error
	DropCopies() error
}

// Ticks tells the time by which flows note when they were seen. *Clock is the
// real one.
type Ticks interface {
	Now(context.Context) (Instant, error)
}

// Table is both flow maps. Safe for concurrent use, but for Sweep, which runs
// once at a time.
type Table struct {
	maps     Maps
	clock    Ticks
	maxFlows uint32
	// waiting are the flows without answers of the last sweep, with packets.
	waiting map[bpf.FlowKey]uint64
}

// New returns the flows of maps, whose table of established flows holds
// maxFlows entries.
func New(maps Maps, clock Ticks, maxFlows uint32) *Table {
	return &Table{maps: maps, clock: clock, maxFlows: maxFlows}
}

// Entry is one direction of a connection as the programs have it.
type Entry struct {
	Key  bpf.FlowKey
	Flow bpf.Flow
	// Idle is since this direction was seen.
	Idle time.Duration
}

// API returns the entry as GET /v1/flows has it, without the service's name.
func (e Entry) API() v1.Flow {
	f := maps.FlowIn(e.Key, e.Flow)
	f.IdleTime = e.Idle
	return f
}

// Read returns the flows of both tables in no order. A flow that moved from
// one table to the other is returned once.
func (t *Table) Read(ctx context.Context) ([]Entry, error) {
	now, err := t.clock.Now(ctx)
	if err != nil {
		return nil, err
	}
	// Half-open flows first: one that moves meanwhile is in either.
	halfOpen := map[bpf.FlowKey]bpf.Flow{}
	if err := t.maps.EachFlow(maps.HalfOpen, func(k bpf.FlowKey, f bpf.Flow) { halfOpen[k] = f }); err != nil {
		return nil, err
	}
	var entries []Entry
	add := func(k bpf.FlowKey, f bpf.Flow) {
		entries = append(entries, Entry{Key: k, Flow: f, Idle: now.Since(f.LastSeen)})
	}
	err = t.maps.EachFlow(maps.Established, func(k bpf.FlowKey, f bpf.Flow) {
		delete(halfOpen, k)
		add(k, f)
	})
	if err != nil {
		return nil, err
	}
	if err := t.addCopies(entries, now); err != nil {
		return nil, err
	}
	for k, f := range halfOpen {
		if f.State != bpf.FlowEstablished { // else a rest of a flow that has ended
			add(k, f)
		}
	}
	return entries, nil
}

// addCopies adds to established flows what CPUs have counted apart.
func (t *Table) addCopies(entries []Entry, now Instant) error {
	at := make(map[bpf.FlowKey]int, len(entries))
	for i, e := range entries {
		at[e.Key] = i
	}
	return t.maps.EachCopy(func(c bpf.Cached) {
		i, ok := at[c.Key]
		if !ok || !maps.IsCopyOf(c, entries[i].Flow) {
			return
		}
		e := &entries[i]
		e.Flow.Packets += uint64(c.Packets)
		e.Flow.Bytes += c.Bytes
		e.Idle = min(e.Idle, now.Since(c.LastSeen))
	})
}

// Scan walks both tables and returns what flows name, for plan.Make.
func (t *Table) Scan(now time.Time) (plan.Scan, error) {
	scan := newScan(now)
	for _, table := range []maps.FlowTable{maps.HalfOpen, maps.Established} {
		err := t.maps.EachFlow(table, func(k bpf.FlowKey, f bpf.Flow) { note(scan, k, f) })
		if err != nil {
			return plan.Scan{}, err
		}
	}
	return scan, nil
}

func newScan(now time.Time) plan.Scan {
	return plan.Scan{Started: now, Services: map[uint32]bool{}, Backends: map[uint32]bool{}, VIPs: map[netip.Addr]bool{}}
}

func note(scan plan.Scan, k bpf.FlowKey, f bpf.Flow) {
	scan.VIPs[maps.VIPOf(k, f)] = true
	scan.Services[uint32(f.Service)] = true
	scan.Backends[f.Backend] = true
}
