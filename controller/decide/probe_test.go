package decide

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Annotations for probes and withdrawal, and what the nodes are told of them.
func TestProbeAnnotations(t *testing.T) {
	for _, row := range []struct {
		name  string
		port  string
		notes string // annotations without their prefix, blank separated, _ for a blank
		want  v1.ProbeSpec
		off   bool   // nothing is probed
		fault string // part of the message that names the annotation
	}{
		{name: "none: the node's defaults"},
		{name: "a page at another port", notes: "probetype=http probeport=8080 probereq=/healthz proberesp=ok",
			want: v1.ProbeSpec{Type: v1.ProbeHTTP, Port: 8080, Request: "/healthz", Expect: "ok"}},
		{name: "a page as LoxiLB writes it", notes: "probetype=https probereq=health",
			want: v1.ProbeSpec{Type: v1.ProbeHTTPS, Request: "/health"}},
		{name: "sctp, that LoxiLB drops", notes: "probetype=sctp", want: v1.ProbeSpec{Type: v1.ProbeSCTP}},
		{name: "a ping", notes: "probetype=ping", want: v1.ProbeSpec{Type: v1.ProbePing}},
		{name: "a question over UDP", port: "80:30080/UDP", notes: "probereq=are_you_there proberesp=yes",
			want: v1.ProbeSpec{Request: "are you there", Expect: "yes"}},
		{name: "times in seconds and with units", notes: "probetimeout=10 probewait=500ms proberetries=0",
			want: v1.ProbeSpec{PeriodMilliseconds: 10000, TimeoutMilliseconds: 500, Failures: 1}},
		{name: "no probes, though liveness asks for them", notes: "probetype=none", off: true},
		{name: "an unknown type", notes: "probetype=htttp probeport=8080",
			fault: `loxilb.io/probetype: unknown probe "htttp", use tcp, udp, sctp, http, https or ping`},
		{name: "a port that is none", notes: "probetype=http probeport=http", fault: `loxilb.io/probeport: "http" is no port; use 1 to 65535`},
		{name: "a ping at a port", notes: "probetype=ping probeport=80", fault: "loxilb.io/probeport: a ping has no port; remove 80"},
		{name: "a word from tcp", notes: "proberesp=ok", fault: "loxilb.io/proberesp: a tcp probe reads nothing; use type http, https or udp"},
		{name: "a time without sense", notes: "probetimeout=soon", fault: `loxilb.io/probetimeout: "soon" is no time; use seconds, or a duration as 500ms`},
		{name: "no time at all", notes: "probewait=0", fault: `loxilb.io/probewait: "0" is no time`},
		{name: "too often", notes: "probetimeout=50ms", fault: "loxilb.io/probetimeout: 50ms is not within 100ms to 24h0m0s"},
		{name: "waits longer than it rests", notes: "probetimeout=1 probewait=2", fault: "loxilb.io/probewait: 2s is longer than the period"},
		{name: "too many retries", notes: "proberetries=101", fault: `loxilb.io/proberetries: "101" is no number of retries; use 0 to 100`},
		{name: "both protocols must be able to", port: "80:30080/UDP 81:30081/TCP", notes: "probereq=hello",
			fault: "loxilb.io/probereq: a tcp probe sends nothing"},
	} {
		t.Run(row.name, func(t *testing.T) {
			portList := strings.Fields(row.port)
			if len(portList) == 0 {
				portList = []string{"80:30080/TCP"}
			}
			s := lb("a", ports(portList...), note("loxilb.io/liveness", "yes"))
			for n := range strings.FieldsSeq(row.notes) {
				name, value, _ := strings.Cut(n, "=")
				note("loxilb.io/"+name, strings.ReplaceAll(value, "_", " "))(s)
			}
			snap := twoByTwo()
			snap.Services = append(snap.Services, s)
			d := Decide(snap, articleConfig(t), controller.Memory{})
			services := nodeOf(t, d, "master1").State.Services
			if len(services) != len(portList) {
				t.Fatalf("served %+v", services)
			}
			for _, got := range services {
				if diff := cmp.Diff(row.want, got.Probe); diff != "" || got.Monitor == row.off {
					t.Errorf("%s: monitor %t, probe (-want +got):\n%s", got.Frontend, got.Monitor, diff)
				}
				if err := v1.ValidateService(got); err != nil {
					t.Errorf("a node would refuse it: %v", err)
				}
			}
			c := d.Services[0].Conditions[0]
			if !c.Status || (c.Reason == ReasonProbeDefaults) != (row.fault != "") || !strings.Contains(c.Message, row.fault) {
				t.Errorf("condition %+v, want it to say %q", c, row.fault)
			}
		})
	}
}

// Probe annotations of a service that is not probed are named, with what to do.
func TestProbeAnnotationsWithoutLiveness(t *testing.T) {
	snap := twoByTwo()
	snap.Services = append(snap.Services, lb("a", ports("80:30080/TCP"), note("loxilb.io/probetype", "http"), note("weir-lb.io/probewait", "1")))
	d := Decide(snap, articleConfig(t), controller.Memory{})
	want := "without effect here: loxilb.io/probetype and weir-lb.io/probewait without loxilb.io/liveness: yes; remove what you do not need"
	if c := d.Services[0].Conditions[0]; c.Message != want {
		t.Errorf("got %q, want %q", c.Message, want)
	}
	if got := nodeOf(t, d, "master1").State.Services[0]; got.Monitor || got.Probe != (v1.ProbeSpec{}) {
		t.Errorf("got %+v", got)
	}
}

func TestWithdraw(t *testing.T) {
	for _, row := range []struct {
		flag, want bool
		note       string
	}{{false, false, ""}, {true, true, ""}, {false, true, "yes"}, {true, false, "no"}} {
		s := lb("a", ports("80:30080/TCP"))
		if row.note != "" {
			note("weir-lb.io/withdraw", row.note)(s)
		}
		snap, cfg := twoByTwo(), articleConfig(t)
		snap.Services, cfg.Withdraw = append(snap.Services, s), row.flag
		d := Decide(snap, cfg, controller.Memory{})
		if got := nodeOf(t, d, "master1").State.Services[0].Withdraw; got != row.want {
			t.Errorf("flag %t, annotation %q: %t, want %t", row.flag, row.note, got, row.want)
		}
	}
}
