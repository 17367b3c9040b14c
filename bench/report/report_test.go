package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-lb/weir/bench/result"
)

func samples(values ...float64) []result.Sample {
	var all []result.Sample
	for _, v := range values {
		all = append(all, result.Sample{Value: v, Sent: 100})
	}
	return all
}

func run() *result.Run {
	return &result.Run{Sections: []result.Section{
		{Name: "testrun", Title: "Programs", Unit: "ns", Compare: result.Multiple, Rows: []result.Row{
			{Subject: "xdp floor", Variant: "1", Samples: samples(6, 6, 6)},
			{Subject: "xdp tcp 64", Variant: "1", Baseline: "xdp floor", Samples: samples(18, 17.4, 30)},
			{Subject: "xdp tcp 64", Variant: "10000", Baseline: "xdp floor", Samples: samples(60, 66, 72)},
			{Subject: "xdp udp 64", Variant: "1", Baseline: "xdp floor", Samples: samples(19, 18.9, 31)},
		}},
		{Name: "chain", Title: "Chain", Unit: "ns", Compare: result.Difference, Rows: []result.Row{
			{Subject: "redirect-xdp", Variant: "1000", Samples: samples(120, 130)},
			{Subject: "weir-xdp", Variant: "1000", Baseline: "redirect-xdp", Samples: samples(170, 180)},
			{Subject: "redirect-xdp", Variant: "30000", Samples: samples(250, 240)},
			{Subject: "weir-xdp", Variant: "30000", Baseline: "redirect-xdp", Samples: samples(350, 340)},
		}},
		{Name: "connections", Title: "Connections", Unit: "1/s", Compare: result.Share, Rows: []result.Row{
			{Subject: "routing", Variant: "32", Samples: samples(20000)},
			{Subject: "weir-tc", Variant: "32", Baseline: "routing", Samples: samples(19000)},
		}},
	}}
}

func TestMatrix(t *testing.T) {
	r := run()
	for name, want := range map[string]string{
		"testrun": `| ns | against | 1 | 10000 | lost |
|---|---|---|---|---|
| xdp floor |  | 6.00 |  | 0 |
| xdp tcp 64 | xdp floor | 18.0 (3.0 x) | 66.0 (11.0 x) | 0 |
| xdp udp 64 | xdp floor | 19.0 (3.2 x) |  | 0 |
`,
		"chain": `| ns | against | 1000 | 30000 | lost |
|---|---|---|---|---|
| redirect-xdp |  | 125 | 245 | 0 |
| weir-xdp | redirect-xdp | 175 (+50) | 345 (+100) | 0 |
`,
		"connections": `| 1/s | against | 32 | lost |
|---|---|---|---|
| routing |  | 20000 | 0 |
| weir-tc | routing | 19000 (95 %) | 0 |
`,
	} {
		if d := cmp.Diff(want, Matrix(r.Section(name))); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

func TestTargets(t *testing.T) {
	got := Targets(run())
	for _, want := range []string{
		"| XDP, TCP, 1 flow, over its floor | 3.00 x | reached: <= 5 x | reached: <= 3 x |",
		"| XDP, TCP, 10 000 flows, over its floor | 11.00 x | measured | **missed**: <= 6 x |",
		"| UDP over TCP, XDP | +1 | reached: <= +2 | reached: <= +2 |",
		"| TC, TCP, 1 flow, over its floor | not in this run | | |",
		"| chain over static redirect, 1 000 flows | +50 | **missed**: <= +35 | **missed**: <= +15 |",
		"| chain over static redirect, 30 000 flows | +100 | reached: <= +120 | **missed**: <= +55 |",
		"| chain in multiples of static redirect, 1 000 flows | 1.40 x | **missed**: <= 1.28 x | **missed**: <= 1.12 x |",
		"| chain in multiples of static redirect, 30 000 flows | 1.41 x | reached: <= 2 x | reached: <= 1.46 x |",
		"| new TCP connections, TC, of routing | 95 % | reached: >= 90 % | reached: >= 95 % |",
		"| packets and requests that weir lost | +0 | reached: <= +0 | reached: <= +0 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}

func TestSmokeFindsSlownessAndLoss(t *testing.T) {
	if err := Smoke(run()); err != nil {
		t.Error(err)
	}
	slow := run()
	slow.Sections[0].Rows[1].Samples = samples(60, 60, 60)
	if err := Smoke(slow); err == nil {
		t.Error("10 x the floor passes")
	}
	lossy := run()
	lossy.Section("connections").Rows[1].Samples[0].Lost = 1
	if err := Smoke(lossy); err == nil {
		t.Error("a lost request passes")
	}
}

func TestSplice(t *testing.T) {
	const page = "a\n<!-- bench: chain -->\nold\n<!-- bench end -->\nb\n<!-- bench: bulk -->\n<!-- bench end -->\nc\n"
	got, err := Splice(page, map[string]string{"chain": "new\n", "bulk": "x\n"})
	const want = "a\n<!-- bench: chain -->\nnew\n<!-- bench end -->\nb\n<!-- bench: bulk -->\nx\n<!-- bench end -->\nc\n"
	if got != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Splice(page, map[string]string{"chain": "new\n"}); err == nil {
		t.Error("a place that was not measured is left as it was")
	}
	if _, err := Splice("nothing", nil); err == nil {
		t.Error("a page without places is filled")
	}
}
