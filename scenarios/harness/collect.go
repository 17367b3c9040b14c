package harness

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/weir-lb/weir/topo/node"
)

// reportFile is the report among the artifacts.
const reportFile = "report.txt"

// reportFailure adds the report to a failed spec while its topology stands.
func reportFailure() {
	spec := ginkgo.CurrentSpecReport()
	if !spec.Failed() {
		return
	}
	r := report{
		intent: spec.FullText(), failedAt: location(spec.Failure.Location.FileName, spec.Failure.Location.LineNumber),
		failure: spec.Failure.Message,
	}
	var last *step
	if n := len(present.steps); n > 0 {
		last = present.steps[n-1]
		r.step = last.String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	for _, s := range present.scenarios {
		r.topologies = append(r.topologies, s.collect(ctx, last))
	}
	r.again = again(spec.FullText())
	if len(present.scenarios) > 0 {
		r.keep = "WEIR_KEEP=1 " + r.again
	}
	for _, s := range present.scenarios {
		// Where the artifacts are, the report is too.
		_ = os.WriteFile(filepath.Join(s.folder(), reportFile), []byte(r.String()), 0o644)
	}
	ginkgo.AddReportEntry("failure report", ginkgo.ReportEntryVisibilityFailureOrVerbose, r)
	for _, s := range present.scenarios {
		s.failures++
		if err := s.startRecording(); err != nil {
			ginkgo.Fail(err.Error())
		}
	}
}

// again is the command that builds and runs one spec of this package.
func again(text string) string {
	wd, err := os.Getwd()
	if err != nil {
		wd = "."
	}
	focus := strings.ReplaceAll(regexp.QuoteMeta(text), "'", ".")
	return fmt.Sprintf("FOCUS='%s$' ci/test.sh suite %s", focus, filepath.Base(wd))
}

// location is a file of the repository and a line.
func location(file string, line int) string {
	if root, err := repository(); err == nil {
		if rel, err := filepath.Rel(root, file); err == nil {
			file = rel
		}
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// collect reads and keeps all that tells where the packets went.
func (s *Scenario) collect(ctx context.Context, last *step) topologyReport {
	t := topologyReport{name: s.Page.Name + " " + s.ID(), artifacts: s.folder()}
	problem := func(err error) {
		if err != nil {
			t.problems = append(t.problems, err.Error())
		}
	}
	var before snapshot
	if last != nil {
		before = last.before[s]
	}
	t.nodes, t.links = s.snapshot(ctx).since(before)
	problem(s.stopRecording())
	problem(s.Dump(ctx, s.folder()))
	problem(s.writeTranscript())
	for _, p := range s.Processes() {
		if tail, ok := readTail(p); ok {
			t.logs = append(t.logs, tail)
		}
	}
	var err error
	t.files, err = listFiles(s.folder())
	problem(err)
	t.files = append(t.files, reportFile) // written last
	if keep() {
		name := s.Nodes()[0].Name
		t.shell = []string{
			fmt.Sprintf("bin/weir-topo exec --name %s %s -- bash", s.ID(), name),
			fmt.Sprintf("bin/weir-topo down %s", s.ID()),
		}
	}
	return t
}

// writeTranscript writes the steps of the spec.
func (s *Scenario) writeTranscript() error {
	var b strings.Builder
	for _, st := range present.steps {
		fmt.Fprintln(&b, st)
	}
	return os.WriteFile(filepath.Join(s.folder(), "transcript.txt"), []byte(b.String()), 0o644)
}

// worrying lines are slog's and BIRD's warnings and errors, and panics.
var worrying = regexp.MustCompile(`level=(WARN|ERROR)|"level":"(WARN|ERROR|warn|warning|error|fatal)"|<(WARN|ERR|FATAL|BUG)>|^panic:|^fatal error:`)

// readTail returns the last worrying lines of a process's log, and of one that
// has ended its last lines whatever they say.
func readTail(p *node.Process) (logTail, bool) {
	tail := logTail{process: p.String(), ended: !p.Running()}
	f, err := os.Open(p.Log())
	if err != nil {
		return tail, tail.ended
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if tail.ended || worrying.MatchString(lines.Text()) {
			tail.lines = append(tail.lines, lines.Text())
		}
		if len(tail.lines) > maxLogLines {
			tail.lines = tail.lines[1:]
		}
	}
	return tail, tail.ended || len(tail.lines) > 0
}

// listFiles lists what dir has, folders with how many files they hold.
func listFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			below, err := os.ReadDir(filepath.Join(dir, name))
			if err != nil {
				return nil, fmt.Errorf("list artifacts: %w", err)
			}
			if len(below) == 0 {
				continue
			}
			name = fmt.Sprintf("%s/ (%d files)", name, len(below))
		}
		files = append(files, name)
	}
	return files, nil
}
