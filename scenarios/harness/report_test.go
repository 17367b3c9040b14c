package harness

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-lb/weir/api/v1"
)

func TestReportIsOneScreen(t *testing.T) {
	r := report{
		intent: "full NAT keeps every byte but addresses, ports and TTL", step: "2 the client sends (nat_test.go:40)",
		failedAt: "scenarios/nat/nat_test.go:44", failure: "want ttl 63\ngot  ttl 64\n",
		topologies: []topologyReport{{
			name:  "one-lb abcd",
			nodes: []nodeDelta{{node: "lb", in: 3, forwarded: 1, passed: 1, drops: []v1.Drop{{Reason: "no_flow", Count: 1}}}},
			links: []linkDelta{{endpoint{"client", "eth1"}, linkCounters{rx: 1, tx: 3}}},
			logs: []logTail{
				{process: "lb/weir", lines: []string{"level=WARN msg=x"}},
				{process: "backend1/serve", ended: true, lines: []string{"bye"}},
			},
			artifacts: "/tmp/a", files: []string{"report.txt", "link-client-eth1.pcapng"},
			shell: []string{"weir-topo exec"},
		}},
		again: "FOCUS='x' ci/test.sh suite nat", keep: "WEIR_KEEP=1 FOCUS='x' ci/test.sh suite nat",
	}
	const want = `
intent   full NAT keeps every byte but addresses, ports and TTL
step     2 the client sends (nat_test.go:40)
failed   scenarios/nat/nat_test.go:44

expected and got
  want ttl 63
  got  ttl 64

packets since the step began, one-lb abcd
  weir on  in  forwarded  passed  dropped
  lb       3   1          1       no_flow 1
  link         received  sent  dropped at receiving  dropped at sending
  client:eth1  1         3     0                     0

warnings of lb/weir
  level=WARN msg=x

backend1/serve has ended; its last lines
  bye

artifacts in /tmp/a
  report.txt  link-client-eth1.pcapng

the topology stands
  weir-topo exec

again
  FOCUS='x' ci/test.sh suite nat

again, and look around in the topology that stays
  WEIR_KEEP=1 FOCUS='x' ci/test.sh suite nat
`
	if diff := cmp.Diff(want, r.String()); diff != "" {
		t.Error(diff)
	}
}

func TestReportClipsWhatIsLong(t *testing.T) {
	r := report{failure: strings.Repeat("a line\n", 500)}
	if strings.Contains(r.String(), "that stays") {
		t.Error("it tells how to keep a topology where there is none")
	}
	links := make([]linkDelta, 200)
	r.topologies = []topologyReport{{links: links}}
	if n := strings.Count(r.String(), "\n"); n > 70 {
		t.Errorf("the report has %d lines, want one screen", n)
	}
	if s := r.String(); !strings.Contains(s, "470 more lines") || !strings.Contains(s, "184 more") {
		t.Errorf("the report does not say what it left out:\n%s", s)
	}
}

func TestSnapshotDelta(t *testing.T) {
	at, idle := endpoint{"lb", "eth1"}, endpoint{"lb", "eth2"}
	before := snapshot{
		weir: map[string]v1.Counters{"lb": {In: 10, Forwarded: 9, Passed: 1, Drops: []v1.Drop{{Reason: "ttl", Count: 4}, {Reason: "mtu", Count: 1}}}},
		links: map[endpoint]linkCounters{
			at: {rx: 5, tx: 5}, idle: {rx: 7, tx: 7},
		},
	}
	now := snapshot{
		weir: map[string]v1.Counters{"lb": {In: 15, Forwarded: 11, Passed: 2, Drops: []v1.Drop{{Reason: "ttl", Count: 6}, {Reason: "mtu", Count: 1}}}},
		links: map[endpoint]linkCounters{
			at: {rx: 8, rxDrop: 1, tx: 5}, idle: {rx: 7, tx: 7},
		},
	}
	nodes, links := now.since(before)
	compare := cmp.AllowUnexported(nodeDelta{}, linkDelta{}, linkCounters{}, endpoint{})
	wantNodes := []nodeDelta{{node: "lb", in: 5, forwarded: 2, passed: 1, drops: []v1.Drop{{Reason: "ttl", Count: 2}}}}
	if diff := cmp.Diff(wantNodes, nodes, compare); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]linkDelta{{at, linkCounters{rx: 3, rxDrop: 1}}}, links, compare); diff != "" {
		t.Error(diff)
	}
}

func TestParseLink(t *testing.T) {
	line := "  eth1: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0"
	name, c, ok := parseLink(line)
	if want := (linkCounters{rx: 10, rxDrop: 2, tx: 20, txDrop: 4}); !ok || name != "eth1" || c != want {
		t.Errorf("parseLink = %q %+v %t, want eth1 %+v", name, c, ok, want)
	}
	for _, line := range []string{"Inter-|   Receive |  Transmit", " face |bytes", "eth1: 1 2 3", "eth1: 1 2 x 4 5 6 7 8 9 10 11 12"} {
		if name, _, ok := parseLink(line); ok {
			t.Errorf("parseLink(%q) took it for interface %q", line, name)
		}
	}
}

func TestWorryingLines(t *testing.T) {
	for line, want := range map[string]bool{
		`time=2026-11-24T10:00:00Z level=INFO msg="weir runs"`:       false,
		`time=2026-11-24T10:00:00Z level=WARN msg="no neighbour"`:    true,
		`time=2026-11-24T10:00:00Z level=ERROR msg=x`:                true,
		`bird: <ERR> Cannot open`:                                    true,
		`{"level":"warn","msg":"x"}`:                                 true,
		`panic: runtime error: index out of range`:                   true,
		`2026-11-24 <INFO> lb: Started`:                              false,
		`time=2026-11-24T10:00:00Z level=INFO msg="told level WARN"`: false,
	} {
		if got := worrying.MatchString(line); got != want {
			t.Errorf("worrying(%q) = %t", line, got)
		}
	}
}
