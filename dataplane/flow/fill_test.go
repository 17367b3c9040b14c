package flow

import (
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

func TestFillRingsLongBeforeTheTableIsFull(t *testing.T) {
	var f Fill
	if len(f.Conditions()) != 0 || f.Table() != (v1.FlowTable{}) {
		t.Fatalf("before the first sweep: %+v, %+v", f.Table(), f.Conditions())
	}
	for _, step := range []struct {
		entries uint32
		alarm   bool
	}{{749, false}, {750, true}, {700, true}, {660, true}, {659, false}, {700, false}, {749, false}, {1000, true}, {0, false}} {
		f.Note(step.entries, 1000)
		got := f.Conditions()
		if (len(got) == 1) != step.alarm {
			t.Errorf("%d of 1000 entries: conditions %+v, want an alarm: %t", step.entries, got, step.alarm)
		}
		if step.alarm && (got[0].Status || got[0].Type != v1.ConditionFlowSpace || !strings.Contains(got[0].Message, "--max-flows")) {
			t.Errorf("the alarm is %+v", got[0])
		}
	}
	if f.Note(1<<24, 1<<24); len(f.Conditions()) != 1 {
		t.Error("the largest table there can be is full, and nobody says so")
	}
}
