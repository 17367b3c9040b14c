package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ginkgoSuite is what we read of Ginkgo's JSON report.
type ginkgoSuite struct {
	SuiteDescription string
	SpecReports      []ginkgoSpec
}

type ginkgoSpec struct {
	ContainerHierarchyTexts []string
	LeafNodeText            string
	LeafNodeType            string
	State                   string
	Failure                 struct {
		Message  string
		Location struct {
			FileName   string
			LineNumber int
		}
	}
}

// specs are those of all reports that did not pass.
type specs struct {
	reports  []ran
	failed   map[string]int // how many reports of a suite have a failure, by its folder
	failures []string       // name, place and the first lines of what was said, as text of several lines
}

// ran is what a report says of its specs.
type ran struct {
	skips []notRun
	names map[string]bool
}

// notRun is a spec that was skipped or left pending. leftOut says that it did not say so itself.
type notRun struct {
	skip
	leftOut bool
}

// skipped are the specs that no report has run: a suite may run in parts, each of which skips what another one runs.
func (s *specs) skipped() []skip {
	var out []skip
	for _, r := range s.reports {
		told := slices.Clone(out) // by another part
		for _, spec := range r.skips {
			elsewhere := slices.ContainsFunc(s.reports, func(o ran) bool { return o.names[spec.name] && !r.names[spec.name] })
			if !slices.Contains(told, spec.skip) && (!spec.leftOut || !elsewhere) {
				out = append(out, spec.skip)
			}
		}
	}
	return out
}

// silent tells of packages that failed and of which no report has a failure: they did not build, or a deadline ended them.
func (s *specs) silent(broken []ending) (out []string) {
	left := maps.Clone(s.failed)
	for _, b := range broken {
		if folder := filepath.Base(b.pkg); left[folder] > 0 {
			left[folder]-- // a suite in two parts may fail twice
			continue
		}
		out = append(out, fmt.Sprintf("%s failed, and none of its specs did\n    %s\n", b.pkg, b.words))
	}
	return out
}

// readSpecs adds what a report has to s.
func (s *specs) readSpecs(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var suites []ginkgoSuite
	if err := json.Unmarshal(data, &suites); err != nil {
		return fmt.Errorf("read report %s: %w", path, err)
	}
	report, failed := ran{names: map[string]bool{}}, 0
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			words := append([]string{suite.SuiteDescription + ":"}, spec.ContainerHierarchyTexts...)
			if spec.LeafNodeType != "It" {
				words = append(words, spec.LeafNodeType)
			}
			name := strings.TrimSpace(strings.Join(append(words, spec.LeafNodeText), " "))
			switch {
			case spec.State == "passed":
				report.names[name] = true
			case spec.State != "skipped" && spec.State != "pending":
				report.names[name] = true
				s.failures = append(s.failures, spec.failure(name))
				failed = 1
			case spec.LeafNodeType == "It":
				report.skips = append(report.skips, notRun{
					skip{name: name, said: spec.State + " " + spec.Failure.Message}, spec.State == "skipped" && spec.Failure.Message == "",
				})
			}
		}
	}
	s.reports = append(s.reports, report)
	s.failed[strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".json"), "-alone")] += failed
	return nil
}

// linesOfFailure are enough for what was expected and what came, and few enough for a summary.
const linesOfFailure = 16

func (s ginkgoSpec) failure(name string) string {
	text := fmt.Sprintf("%s (%s)\n    %s:%d\n", name, s.State, s.Failure.Location.FileName, s.Failure.Location.LineNumber)
	lines := strings.Split(strings.TrimRight(s.Failure.Message, "\n"), "\n")
	if more := len(lines) - linesOfFailure; more > 0 {
		lines = append(lines[:linesOfFailure], fmt.Sprintf("and %d lines more", more))
	}
	for _, line := range lines {
		text += "    " + line + "\n"
	}
	return text
}
