// Command testlog stands behind `go test -json`: it prints the run as a person wants to read it, with the runner's own
// closing lines, and fails where a test was skipped without its reason in ci/skips.txt.
//
//	go test -json ./... | testlog
//
// It reads to the end of its input whatever happens, so that an interrupted run can still say how its clean-up went.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	var o options
	flag.BoolVar(&o.live, "live", false, "print everything as it happens, not only what failed")
	flag.StringVar(&o.declared, "skips", "ci/skips.txt", "`file` of declared skips")
	flag.StringVar(&o.reports, "reports", "", "`folder` of Ginkgo JSON reports to look through for skipped specs; failed.txt there says what failed, and why")
	flag.Parse()
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	if err := run(os.Stdin, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

type options struct {
	live     bool   // optional: print passing tests' output too, as it comes
	declared string // required: the file of declared skips
	reports  string // optional: folder of Ginkgo JSON reports
}

// run prints the events of in to out and judges the skips. Failing tests are go test's own business: its exit code says so.
func run(in io.Reader, out io.Writer, o options) error {
	f, err := os.Open(o.declared)
	if err != nil {
		return err
	}
	defer f.Close()
	declared, err := parseDeclared(f)
	if err != nil {
		return fmt.Errorf("%s: %w", o.declared, err)
	}

	p := newPrinter(out, o.live)
	if err := readEvents(in, p.event); err != nil {
		return err
	}
	if o.reports == "" {
		return judge(out, p.skips, declared)
	}
	s := specs{failed: map[string]int{}}
	paths, err := filepath.Glob(filepath.Join(o.reports, "*.json"))
	if err != nil {
		return fmt.Errorf("list reports of %s: %w", o.reports, err)
	}
	var broken []error
	for _, path := range paths {
		if err := s.readSpecs(path); err != nil {
			broken = append(broken, err)
			s.failures = append(s.failures, fmt.Sprintf("%v\n", err))
		}
	}
	s.failures = append(s.failures, s.silent(p.broken)...)
	// For whoever sums up a long run, of whose output this is the part that says why.
	if err := os.WriteFile(filepath.Join(o.reports, "failed.txt"), []byte(strings.Join(s.failures, "")), 0o600); err != nil {
		broken = append(broken, err)
	}
	return errors.Join(append(broken, judge(out, append(p.skips, s.skipped()...), declared))...)
}
