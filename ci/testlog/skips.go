package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// skip is a test or spec that did not run.
type skip struct {
	name string // package.Test/sub within the module, or "suite: containers spec"
	said string // what it gave as its reason
}

// declaration is a line of ci/skips.txt: which skips are agreed to, and why.
type declaration struct {
	name   string // exact, or a prefix where it ends in *
	reason string
}

// parseDeclared reads lines `NAME | REASON`; # starts a comment line. A line without a reason is an error: the reason is
// what the file is for.
func parseDeclared(in io.Reader) ([]declaration, error) {
	var all []declaration
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, " | ")
		if name, reason = strings.TrimSpace(name), strings.TrimSpace(reason); name == "" || name == "*" || reason == "" {
			return nil, fmt.Errorf("line %d: want 'NAME | REASON', got %q", n, line)
		}
		all = append(all, declaration{name: name, reason: reason})
	}
	return all, lines.Err()
}

func (d declaration) covers(name string) bool {
	if prefix, ok := strings.CutSuffix(d.name, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return d.name == name
}

// judge prints every skip with the reason that stands for it, and fails on those that have none.
func judge(out io.Writer, skips []skip, declared []declaration) error {
	undeclared := 0
	for _, s := range skips {
		if reason := reasonFor(s.name, declared); reason != "" {
			fmt.Fprintf(out, "skipped as declared: %s (%s)\n", s.name, reason)
			continue
		}
		undeclared++
		fmt.Fprintf(out, "SKIPPED WITHOUT A DECLARED REASON: %s; it said %q\n", s.name, s.said)
	}
	if undeclared > 0 {
		return fmt.Errorf("%d skipped without a reason in ci/skips.txt: make them run, or declare them there", undeclared)
	}
	return nil
}

func reasonFor(name string, declared []declaration) string {
	for _, d := range declared {
		if d.covers(name) {
			return d.reason
		}
	}
	return ""
}
