package flow

import (
	"fmt"
	"sync"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Shares of the flow table in percent: when the alarm comes, and when it goes.
// They lie apart, so that a table at the edge does not ring for ever.
const (
	fillAlarm   = 75
	fillAllWell = 65
)

// ReasonFilling is of v1.ConditionFlowSpace: most of the flow table is in use;
// raise --max-flows after weirctl drain, or shorten time-outs.
const ReasonFilling = "Filling"

// Fill is how full the table of established flows is, as of the last sweep.
// Safe for concurrent use; the zero value is an empty table that has no size yet.
type Fill struct {
	mu    sync.Mutex
	table v1.FlowTable
	alarm bool
}

// Note takes the entries that a sweep has left, of capacity.
func (f *Fill) Note(entries, capacity uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table = v1.FlowTable{Entries: entries, Capacity: capacity}
	percent := f.percent()
	f.alarm = percent >= fillAlarm || f.alarm && percent > fillAllWell
}

func (f *Fill) percent() uint64 {
	if f.table.Capacity == 0 {
		return 0
	}
	return uint64(f.table.Entries) * 100 / uint64(f.table.Capacity)
}

// Table returns what was noted last.
func (f *Fill) Table() v1.FlowTable {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table
}

// Conditions returns the alarm, none while there is room.
func (f *Fill) Conditions() []v1.Condition {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.alarm {
		return nil
	}
	return []v1.Condition{{
		Type: v1.ConditionFlowSpace, Reason: ReasonFilling,
		Message: fmt.Sprintf("%d %% of the flow table are in use, %d of %d entries; when it is full new connections are dropped "+
			"as flows_full: raise --max-flows (after weirctl drain), or shorten time-outs",
			f.percent(), f.table.Entries, f.table.Capacity),
	}}
}
