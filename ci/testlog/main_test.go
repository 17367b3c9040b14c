package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// recorded is a shortened run: one package with a pass, a failure in a subtest and two skips; one without tests.
const recorded = `{"Action":"run","Package":"github.com/weir-lb/weir/topo","Test":"TestUp"}
{"Action":"output","Package":"github.com/weir-lb/weir/topo","Test":"TestUp","Output":"    up_test.go:9: all well\n"}
{"Action":"pass","Package":"github.com/weir-lb/weir/topo","Test":"TestUp"}
{"Action":"output","Package":"github.com/weir-lb/weir/topo","Test":"TestDown/late","Output":"    down_test.go:7: link left\n"}
{"Action":"fail","Package":"github.com/weir-lb/weir/topo","Test":"TestDown/late"}
{"Action":"output","Package":"github.com/weir-lb/weir/topo","Test":"TestDown","Output":"--- FAIL: TestDown (0.00s)\n"}
{"Action":"fail","Package":"github.com/weir-lb/weir/topo","Test":"TestDown"}
{"Action":"output","Package":"github.com/weir-lb/weir/topo","Test":"TestIPVS","Output":"    ipvs_test.go:5: no IPVS here\n"}
{"Action":"output","Package":"github.com/weir-lb/weir/topo","Test":"TestIPVS","Output":"--- SKIP: TestIPVS (0.00s)\n"}
{"Action":"skip","Package":"github.com/weir-lb/weir/topo","Test":"TestIPVS"}
{"Action":"skip","Package":"github.com/weir-lb/weir/topo","Test":"TestVLAN/tagged"}
{"Action":"output","Package":"github.com/weir-lb/weir/topo","Output":"FAIL\tgithub.com/weir-lb/weir/topo\t0.3s\n"}
{"Action":"fail","Package":"github.com/weir-lb/weir/topo"}
{"Action":"output","Package":"github.com/weir-lb/weir/api","Output":"?   \tgithub.com/weir-lb/weir/api\t[no test files]\n"}
{"Action":"skip","Package":"github.com/weir-lb/weir/api"}
`

const declaredBoth = "# reasons\ntopo.TestIPVS | this kernel has no IPVS\ntopo.TestVLAN/* | nor VLANs\n"

func TestPrintsFailuresAndClosingLinesOnly(t *testing.T) {
	out, err := replay(t, recorded, options{declared: write(t, "skips.txt", declaredBoth)})
	if err != nil {
		t.Fatalf("declared skips fail the run: %v", err)
	}
	for _, want := range []string{"link left", "--- FAIL: TestDown", "FAIL\tgithub.com/weir-lb/weir/topo", "no IPVS"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	for _, unwanted := range []string{"all well", "no test files"} {
		if strings.Contains(out, unwanted) {
			t.Errorf("output has %q:\n%s", unwanted, out)
		}
	}
}

func TestLivePrintsPassingTestsToo(t *testing.T) {
	out, _ := replay(t, recorded, options{live: true, declared: write(t, "skips.txt", declaredBoth)})
	if !strings.Contains(out, "all well") {
		t.Errorf("live output lacks a passing test's words:\n%s", out)
	}
}

func TestUndeclaredSkipFails(t *testing.T) {
	out, err := replay(t, recorded, options{declared: write(t, "skips.txt", "topo.TestVLAN/* | no VLANs here\n")})
	if err == nil || !strings.HasPrefix(err.Error(), "1 skipped without a reason") {
		t.Fatalf("got error %v", err)
	}
	if want := `SKIPPED WITHOUT A DECLARED REASON: topo.TestIPVS; it said "ipvs_test.go:5: no IPVS here"`; !strings.Contains(out, want) {
		t.Errorf("output lacks %q:\n%s", want, out)
	}
}

func TestSkippedAndPendingSpecsCount(t *testing.T) {
	report := write(t, "article.json", `[{"SuiteDescription":"article","SpecReports":[
		{"LeafNodeType":"BeforeSuite","State":"passed"},
		{"ContainerHierarchyTexts":["TCP"],"LeafNodeText":"answers","LeafNodeType":"It","State":"passed"},
		{"ContainerHierarchyTexts":["SCTP","bulk"],"LeafNodeText":"answers","LeafNodeType":"It","State":"skipped","Failure":{"Message":"no SCTP"}},
		{"ContainerHierarchyTexts":[],"LeafNodeText":"fails over","LeafNodeType":"It","State":"pending"}]}]`)
	out, err := replay(t, "", options{declared: write(t, "skips.txt", ""), reports: filepath.Dir(report)})
	if err == nil || !strings.HasPrefix(err.Error(), "2 skipped") {
		t.Fatalf("got error %v, output:\n%s", err, out)
	}
	for _, want := range []string{`article: SCTP bulk answers; it said "skipped no SCTP"`, "article: fails over"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

// TestPartsOfASuite has a suite run in two parts: what the one skips the other runs, but for a spec that neither does, and
// for one of two of the same name.
func TestPartsOfASuite(t *testing.T) {
	part := func(states ...string) string {
		text := `[{"SuiteDescription":"apiserver","SpecReports":[`
		for i, name := range []string{"serves", "counts", "repeats", "repeats", "never", "needs"} {
			state, message, _ := strings.Cut(states[i], ": ")
			text += strings.Repeat(",", min(i, 1)) + `{"LeafNodeType":"It","LeafNodeText":"` + name + `","State":"` + state + `","Failure":{"Message":"` + message + `"}}`
		}
		return text + "]}]"
	}
	reports := folderOf(t, map[string]string{
		"apiserver.json":       part("passed", "skipped", "passed", "skipped", "pending", "skipped: no SCTP"),
		"apiserver-alone.json": part("skipped", "failed", "skipped", "skipped", "pending", "passed"),
	})
	out, err := replay(t, "", options{declared: write(t, "skips.txt", "apiserver: never | why\n"), reports: reports})
	if err == nil || !strings.HasPrefix(err.Error(), "2 skipped without a reason") {
		t.Errorf("got error %v", err)
	}
	for _, want := range []string{"DECLARED REASON: apiserver: repeats;", `DECLARED REASON: apiserver: needs; it said "skipped no SCTP"`, "skipped as declared: apiserver: never"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("output has not %q once:\n%s", want, out)
		}
	}
}

// TestSuitesThatSayNothingAreSummedUp: one that does not build or is ended by its deadline has no report, or one without
// a failure.
func TestSuitesThatSayNothingAreSummedUp(t *testing.T) {
	reports := folderOf(t, map[string]string{
		"flood.json":     `[{"SuiteDescription":"flood","SpecReports":[{"LeafNodeType":"It","LeafNodeText":"fills","State":"passed"}]}]`,
		"nat-alone.json": `[{"SuiteDescription":"nat","SpecReports":[{"LeafNodeType":"It","LeafNodeText":"answers","State":"failed"}]}]`,
	})
	const module = `"Package":"github.com/weir-lb/weir/scenarios/`
	events := strings.Join([]string{
		`{"Action":"output",` + module + `flood","Test":"TestFlood","Output":"panic: test timed out after 30m0s\n"}`,
		`{"Action":"output",` + module + `flood","Output":"FAIL\tscenarios/flood\t1800s\n"}`,
		`{"Action":"fail",` + module + `flood"}`,
		`{"Action":"output",` + module + `bulk","Output":"FAIL\tscenarios/bulk [build failed]\n"}`,
		`{"Action":"fail",` + module + `bulk"}`,
		`{"Action":"fail",` + module + `nat"}`,
		`{"Action":"output",` + module + `nat","Output":"FAIL\tscenarios/nat\t1s\n"}`,
		`{"Action":"fail",` + module + `nat"}`,
		`{"Action":"pass",` + module + `article"}`,
	}, "\n")
	if out, err := replay(t, events, options{declared: write(t, "skips.txt", ""), reports: reports}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := summary(t, reports)
	_, text, _ := strings.Cut(got, "scenarios/flood")
	want := " failed, and none of its specs did\n    panic: test timed out after 30m0s\n" +
		"scenarios/bulk failed, and none of its specs did\n    FAIL\tscenarios/bulk [build failed]\n" +
		"scenarios/nat failed, and none of its specs did\n    FAIL\tscenarios/nat\t1s\n"
	if text != want || !strings.HasPrefix(got, "nat: answers (failed)") {
		t.Errorf("got\n%s", got)
	}
}

func TestFailedSpecsAreSummedUp(t *testing.T) {
	reports := folderOf(t, map[string]string{"broken.json": `[{"Suite`, "restart.json": `[{"SuiteDescription":"restart","SpecReports":[
		{"LeafNodeType":"It","LeafNodeText":"answers","State":"passed"},
		{"LeafNodeType":"It","LeafNodeText":"cannot","State":"skipped","Failure":{"Message":"no SCTP"}},
		{"ContainerHierarchyTexts":["weir"],"LeafNodeText":"is drained","LeafNodeType":"It","State":"failed",
			"Failure":{"Message":"3 connections\nto be empty\n","Location":{"FileName":"drain_test.go","LineNumber":7}}},
		{"LeafNodeType":"AfterSuite","State":"panicked","Failure":{"Message":"` + strings.Repeat("more\\n", 20) + `","Location":{"FileName":"a.go","LineNumber":1}}}]}]`})
	out, err := replay(t, "", options{declared: write(t, "skips.txt", "restart: cannot | why\n"), reports: reports})
	if err == nil || !strings.Contains(err.Error(), "broken.json: unexpected end of JSON input") || !strings.Contains(out, "skipped as declared: restart: cannot") {
		t.Fatalf("a report that breaks off: error %v, output:\n%s", err, out)
	}
	got := summary(t, reports)
	_, text, _ := strings.Cut(got, "\n")
	want := "restart: weir is drained (failed)\n    drain_test.go:7\n    3 connections\n    to be empty\n" +
		"restart: AfterSuite (panicked)\n    a.go:1\n" + strings.Repeat("    more\n", 16) + "    and 4 lines more\n"
	if text != want || !strings.HasPrefix(got, "read report ") {
		t.Errorf("got\n%s\nwant, below the line of the broken one,\n%s", got, want)
	}
}

func TestDeclarationNeedsAReasonAndAName(t *testing.T) {
	for _, line := range []string{"topo.TestIPVS", "topo.TestIPVS | ", "* | everything", " | no name"} {
		if got, err := parseDeclared(strings.NewReader("# first\n" + line)); err == nil {
			t.Errorf("%q is taken as %v", line, got)
		} else if !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%q: error names no line: %v", line, err)
		}
	}
}

func TestWordsThatAreNoEventsAreKept(t *testing.T) {
	out, err := replay(t, "go: cannot find module\n", options{declared: write(t, "skips.txt", "")})
	if err != nil || out != "go: cannot find module\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func replay(t *testing.T, events string, o options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(strings.NewReader(events), &out, o)
	return out.String(), err
}

// summary is what a run has left in failed.txt.
func summary(t *testing.T, reports string) string {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(reports, "failed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	return filepath.Join(folderOf(t, map[string]string{name: content}), name)
}

// folderOf makes a folder with files of these names and contents.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
