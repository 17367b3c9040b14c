package agent

import (
	"context"
	"errors"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

// A report names the owner's services that lead nowhere, and no others.
func TestReportNamesWhatLeadsNowhere(t *testing.T) {
	r := &recorder{refuse: map[uint16]bool{2: true}, dead: map[uint16]bool{3: true}}
	n := start(t, Options{Dataplane: r})
	mustPut(t, n, "file", state(1, service(vip, 5)))
	mustPut(t, n, "controller", state(1, service(vip, 1), service(vip, 2), service(vip, 3), service(vip, 5)))
	// Port 2 has the node try again and again: nothing to wait for but that.
	waittest.Until(t, "all services tried", func() bool { applies, _ := r.count(); return applies > 1 })
	report, err := n.Report(t.Context(), "controller")
	if err != nil || report.Owner != "controller" || report.Desired.Sequence != 1 || report.Applied != report.Desired {
		t.Errorf("report %+v, %v", report, err)
	}
	want := map[uint16]string{2: "NoSlots", 5: ReasonClaimed}
	for _, f := range report.Faults {
		if want[f.Frontend.Port] != f.Condition.Reason {
			t.Errorf("port %d has the fault %+v, want %q", f.Frontend.Port, f.Condition, want[f.Frontend.Port])
		}
		delete(want, f.Frontend.Port)
	}
	if len(want) > 0 {
		t.Errorf("not reported: %v", want)
	}
	if _, err := n.Report(t.Context(), "nobody"); !errors.Is(err, ErrNoOwner) {
		t.Errorf("of an owner without a state: %v", err)
	}
}

func TestReportIsOfTheDataplaneWithoutFlows(t *testing.T) {
	r := &recorder{}
	n := start(t, Options{Dataplane: flowless{r}})
	mustPut(t, n, "controller", state(1, service(vip, 1)))
	waittest.Until(t, "applied", func() bool { applies, _ := r.count(); return applies > 0 })
	if report, err := n.Report(t.Context(), "controller"); err != nil || len(report.Faults) != 0 {
		t.Errorf("report %+v, %v", report, err)
	}
}

// flowless is a dataplane whose flows take too long to be walked.
type flowless struct{ *recorder }

func (flowless) Services(context.Context) ([]v1.ServiceStatus, error) {
	return nil, errors.New("a million flows were walked")
}

func TestFault(t *testing.T) {
	condition := func(kind, reason string) v1.Condition { return v1.Condition{Type: kind, Reason: reason} }
	lost, well := condition(v1.ConditionReachable, "NoRoute"), v1.Condition{Type: v1.ConditionProgrammed, Status: true}
	backends := func(states ...string) (list []v1.BackendStatus) {
		for _, s := range states {
			list = append(list, v1.BackendStatus{State: s})
		}
		return list
	}
	for _, row := range []struct {
		name string
		s    v1.ServiceStatus
		want string
	}{
		{"all is well", v1.ServiceStatus{Programmed: true, BackendStates: backends("active")}, ""},
		{"no backend", v1.ServiceStatus{Programmed: true}, ""},
		{"one backend of two has no route", v1.ServiceStatus{Programmed: true, BackendStates: backends("unreachable", "active"), Conditions: []v1.Condition{lost}}, ""},
		{"no backend has a route", v1.ServiceStatus{Programmed: true, BackendStates: backends("unreachable", "unreachable"), Conditions: []v1.Condition{well, lost}}, "NoRoute"},
		{"no backend passes its probe", v1.ServiceStatus{Programmed: true, BackendStates: backends("inactive"), Conditions: []v1.Condition{condition(v1.ConditionHealthy, "Down")}}, ""},
		{"backends on the node are not served", v1.ServiceStatus{Programmed: true, BackendStates: backends("unserved"), Conditions: []v1.Condition{condition(v1.ConditionNodeTraffic, "Off")}}, "Off"},
		{"refused", v1.ServiceStatus{Conditions: []v1.Condition{condition(v1.ConditionAccepted, "Invalid")}}, "Invalid"},
		{"the gravest counts", v1.ServiceStatus{BackendStates: backends("unreachable"), Conditions: []v1.Condition{lost, condition(v1.ConditionProgrammed, "NoSlots")}}, "NoSlots"},
		{"nothing is known", v1.ServiceStatus{}, ReasonPending},
	} {
		got, wrong := fault(row.s)
		if got.Reason != row.want || wrong != (row.want != "") {
			t.Errorf("%s: got %q, %t, want %q", row.name, got.Reason, wrong, row.want)
		}
	}
}
