package decide

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

func frontendAt(port uint16) v1.Frontend {
	return v1.Frontend{VIP: netip.MustParseAddr("123.123.123.1"), Port: port, Protocol: v1.TCP}
}

// says is a node's report of the frontends that it was told of, with faults.
func says(node string, ports []uint16, faults map[uint16]v1.Condition) controller.NodeReport {
	r := controller.NodeReport{Node: node, Answered: true, Faults: map[v1.Frontend]v1.Condition{}}
	for _, p := range ports {
		r.Services = append(r.Services, v1.Service{Frontend: frontendAt(p)})
	}
	for p, c := range faults {
		r.Faults[frontendAt(p)] = c
	}
	return r
}

// TestProgrammed folds what nodes say of a service with the ports 80 and 443.
func TestProgrammed(t *testing.T) {
	both := []uint16{80, 443}
	type faults = map[uint16]v1.Condition
	noRoute := v1.Condition{Type: v1.ConditionReachable, Reason: "BackendsUnreachable", Message: "no route to 10.0.0.9"}
	noSlots := v1.Condition{Type: v1.ConditionProgrammed, Reason: "SlotsExhausted", Message: "no slots left"}
	claimed := v1.Condition{Type: v1.ConditionAccepted, Reason: "ClaimedByOther", Message: "it belongs to owner file"}
	strange := v1.Condition{Type: "Odd", Reason: "no reason!", Message: "line one\n\tline\x00 two"}
	lost := func(node string) controller.NodeReport {
		return controller.NodeReport{Node: node, Lost: "no answer in time"}
	}
	stale := says("m2", both, nil)
	stale.Lost = "no answer in time"
	for _, row := range []struct {
		name    string
		reports []controller.NodeReport
		want    string
	}{
		{"all serve it", []controller.NodeReport{says("m1", both, nil), says("m2", both, nil)}, "true Programmed: every load balancer node serves it"},
		{"faults of others are not its own", []controller.NodeReport{says("m1", append(both, 8080), faults{8080: noRoute})}, "true Programmed: every load balancer node serves it"},
		{"no node is there", nil, "false NoNode: no node runs weir as load balancer; see the pods behind the Service weir-lb (or loxilb-lb-service) in the controller's namespace or kube-system"},
		{"no node has answered", []controller.NodeReport{{Node: "m1"}, {Node: "m2"}}, "unknown Pending: load balancer nodes have not said yet whether they serve it"},
		{"one has just joined", []controller.NodeReport{says("m1", both, nil), {Node: "m2"}}, "true Programmed: every load balancer node serves it"},
		{"one was not told of it yet", []controller.NodeReport{says("m1", both, nil), says("m2", []uint16{80}, nil)}, "unknown Pending: load balancer nodes have not said yet whether they serve it"},
		{"one has a fault, one has not answered", []controller.NodeReport{says("m1", both, faults{443: noRoute}), {Node: "m2"}}, "false BackendsUnreachable: m1: no route to 10.0.0.9"},
		{"one has a fault, one was not told yet", []controller.NodeReport{says("m1", both, faults{443: noRoute}), says("m2", nil, nil)}, "false BackendsUnreachable: m1: no route to 10.0.0.9"},
		{"one fault on two nodes", []controller.NodeReport{says("m1", both, faults{80: noRoute}), says("m2", both, faults{443: noRoute})}, "false BackendsUnreachable: m1, m2: no route to 10.0.0.9"},
		{"the gravest reason", []controller.NodeReport{says("m1", both, faults{80: noRoute}), says("m2", both, faults{80: noSlots}), says("m3", both, faults{80: claimed})},
			"false ClaimedByOther: m3: it belongs to owner file; m2: no slots left; m1: no route to 10.0.0.9"},
		{"a node is lost that never answered", []controller.NodeReport{says("m1", both, nil), lost("m2")}, "false NodeUnreachable: m2: nothing heard for a while: no answer in time"},
		{"a node is lost that served it", []controller.NodeReport{says("m1", both, nil), stale}, "false NodeUnreachable: m2: nothing heard for a while: no answer in time"},
		{"all are lost", []controller.NodeReport{lost("m1"), lost("m2")}, "false NodeUnreachable: m1, m2: nothing heard for a while: no answer in time"},
		{"no capacity is graver than a lost node, that graver than no route", []controller.NodeReport{says("m1", both, faults{80: noRoute}), lost("m2"), says("m3", both, faults{80: noSlots})},
			"false SlotsExhausted: m3: no slots left; m2: nothing heard for a while: no answer in time; m1: no route to 10.0.0.9"},
		{"a fault that an apiserver would refuse", []controller.NodeReport{says("m1", both, faults{80: strange})}, "false NotProgrammed: m1: line one line two"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := Decision{
				Services:  []v1.ControllerService{{Namespace: "default", Name: "a", Conditions: []v1.Condition{{Type: v1.ConditionAccepted, Status: true}}}},
				Frontends: map[string][]v1.Frontend{"default/a": {frontendAt(80), frontendAt(443)}},
			}
			got := d.Programmed(row.reports)[0].Conditions
			if len(got) != 2 || got[1].Type != v1.ConditionProgrammed || len(d.Services[0].Conditions) != 1 {
				t.Fatalf("conditions %+v of %+v", got, d.Services[0].Conditions)
			}
			if text := fmt.Sprintf("%s %s: %s", got[1].StatusText(), got[1].Reason, got[1].Message); text != row.want {
				t.Errorf("got  %s\nwant %s", text, row.want)
			}
		})
	}
}

// A service that waits for an address is on no node.
func TestProgrammedIsOfServedServicesOnly(t *testing.T) {
	d := Decision{Services: []v1.ControllerService{{Namespace: "default", Name: "a"}}}
	if got := d.Programmed([]controller.NodeReport{says("m1", nil, nil)})[0].Conditions; len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

// A hundred nodes with long words do not make a long status.
func TestProgrammedMessageIsBounded(t *testing.T) {
	d := Decision{
		Services:  []v1.ControllerService{{Namespace: "default", Name: "a"}},
		Frontends: map[string][]v1.Frontend{"default/a": {frontendAt(80)}},
	}
	var same, others []controller.NodeReport
	for i := range 100 {
		name := fmt.Sprintf("m%02d", i)
		same = append(same, says(name, []uint16{80}, map[uint16]v1.Condition{80: {Message: "full"}}))
		others = append(others, says(name, []uint16{80}, map[uint16]v1.Condition{80: {Message: name + strings.Repeat("ü", 100)}}))
	}
	if got := d.Programmed(same)[0].Conditions[0].Message; got != "m00, m01, m02, m03, m04 and 95 more: full" {
		t.Errorf("got %q", got)
	}
	if got := d.Programmed(others)[0].Conditions[0].Message; len(got) > maxProgrammedMessage || !utf8.ValidString(got) || !strings.HasSuffix(got, "ü...") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// Only what turned is an event: not that nobody knows yet, nor that all is well
// from the start.
func TestEventsOfProgrammed(t *testing.T) {
	ok, unknown := v1.Condition{Type: v1.ConditionProgrammed, Status: true, Reason: ReasonProgrammed}, v1.Condition{Type: v1.ConditionProgrammed, Unknown: true, Reason: ReasonPending}
	bad := v1.Condition{Type: v1.ConditionProgrammed, Reason: "SlotsExhausted"}
	var last Decision
	var got []string
	for _, c := range []v1.Condition{unknown, ok, bad, bad, ok, unknown, ok, bad} {
		next := Decision{Services: []v1.ControllerService{{Namespace: "default", Name: "a", Conditions: []v1.Condition{c}}}}
		for _, e := range Events(last, next) {
			got = append(got, e.Type+" "+e.Reason)
		}
		last = next
	}
	if diff := cmp.Diff([]string{"Warning SlotsExhausted", "Normal Programmed", "Warning SlotsExhausted"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// BenchmarkProgrammed folds 1 000 services on three nodes, each with a fault on
// one of them.
func BenchmarkProgrammed(b *testing.B) {
	d := Decision{Frontends: map[string][]v1.Frontend{}}
	var ports []uint16
	bad := map[uint16]v1.Condition{}
	for i := range uint16(1000) {
		name := fmt.Sprintf("s%d", i)
		d.Services = append(d.Services, v1.ControllerService{Namespace: "default", Name: name})
		d.Frontends["default/"+name] = []v1.Frontend{frontendAt(1 + i)}
		ports = append(ports, 1+i)
		bad[1+i] = v1.Condition{Type: v1.ConditionReachable, Reason: "BackendsUnreachable", Message: "no route to 10.0.0.9"}
	}
	reports := []controller.NodeReport{says("m1", ports, nil), says("m2", ports, bad), says("m3", ports, nil)}
	for b.Loop() {
		d.Programmed(reports)
	}
}
