package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"github.com/onsi/gomega/format"

	"github.com/weir-lb/weir/topo/capture"
)

// suiteTimeout ends a suite that hangs while Ginkgo can still clean up after it.
const suiteTimeout = 10 * time.Minute

// program is one that make build makes: where it is, all are.
const program = "weir"

// Run runs the package's specs, with the report for those that fail.
func Run(t *testing.T, description string) { RunWithin(t, description, suiteTimeout) }

// RunWithin is Run for a suite that needs another time.
func RunWithin(t *testing.T, description string, limit time.Duration) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	format.RegisterCustomFormatter(message)
	ginkgo.BeforeSuite(func() {
		if err := preflight(); err != nil {
			ginkgo.Fail(err.Error())
		}
	})
	// Registered before any container's own: the steps of their set-up count.
	ginkgo.BeforeEach(func() { present.steps = nil })
	// The topology still stands in a JustAfterEach, whatever failed.
	ginkgo.JustAfterEach(reportFailure)
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.Timeout = min(suite.Timeout, limit)
	var err error
	if suiteLeaks.leakCheck, err = beginLeakCheck(); err != nil {
		t.Fatal(err)
	}
	passed := ginkgo.RunSpecs(t, description, suite, reporter)
	// What failed may have left anything, or was told to.
	if err := suiteLeaks.end(suiteLeaks.built); passed && err != nil {
		t.Errorf("the suite left something behind: %v", err)
	}
}

// message shows an error by what it says, not by how it is nested, and a
// captured frame as a line.
func message(v any) (string, bool) {
	switch v := v.(type) {
	case error:
		return v.Error(), true
	case capture.Frame:
		p, err := v.Packet()
		if err != nil {
			return err.Error(), true
		}
		return capture.Hop{Frame: v, Packet: p}.String(), true
	}
	return "", false
}

// preflight says what a suite lacks before its first topology says it badly.
func preflight() error {
	if os.Geteuid() != 0 {
		return errors.New("scenarios build network namespaces and load BPF: run them as root")
	}
	dir, err := binDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, program)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("find weir's programs in %s: %s is not there; run `make build`, or set WEIR_BIN", dir, program)
	} else if err != nil {
		return fmt.Errorf("find weir's programs: %w", err)
	}
	return nil
}

// binDir is the folder of weir's programs, absolute.
func binDir() (string, error) {
	if dir := os.Getenv("WEIR_BIN"); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := repository()
	return filepath.Join(root, "bin"), err
}

// repository is the nearest folder above this one that has a go.mod: go test
// runs in the package's folder.
func repository() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the repository: no go.mod above %s; run `go test` in a clone, or set WEIR_BIN", wd)
		}
	}
}
