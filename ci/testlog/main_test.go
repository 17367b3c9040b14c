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

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
