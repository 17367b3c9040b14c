package agent

import (
	"log/slog"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

func TestConditionsAreLoggedOnceWhenTheyComeAndGo(t *testing.T) {
	var text strings.Builder
	wrong := &recorder{wrong: []v1.Condition{{Type: v1.ConditionFlowSpace, Reason: "Filling", Message: "75 % are in use"}}}
	n := New(Options{Name: "master1", Dataplane: wrong, Log: slog.New(slog.NewTextHandler(&text, nil))})
	first := n.conditions()
	n.logChanges(nil, first)
	wrong.wrong[0].Message = "76 % are in use"
	second := n.conditions()
	n.logChanges(first, second)
	wrong.wrong = nil
	n.logChanges(second, n.conditions())
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], `message="75 % are in use"`) ||
		!strings.Contains(lines[1], "level=INFO") || !strings.Contains(lines[1], "reason=Filling") {
		t.Errorf("want a warning and then an end, got:\n%s", text.String())
	}
}

func TestObservedTellsOfTheFlowTable(t *testing.T) {
	wrong := []v1.Condition{{Type: v1.ConditionFlowSpace, Reason: "Filling"}}
	n := New(Options{Name: "master1", Dataplane: &recorder{wrong: wrong}, Log: slog.New(slog.DiscardHandler)})
	o := n.Observed(t.Context())
	if o.FlowTable == nil || *o.FlowTable != (v1.FlowTable{Entries: 5, Capacity: 4096}) || len(o.Conditions) != 1 || o.Conditions[0] != wrong[0] {
		t.Errorf("got %+v, %+v", o.FlowTable, o.Conditions)
	}
	if o := New(Options{Name: "worker1", Log: slog.New(slog.DiscardHandler)}).Observed(t.Context()); o.FlowTable != nil {
		t.Errorf("a peer has a flow table: %+v", o.FlowTable)
	}
}
