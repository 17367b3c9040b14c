// Package leaktest fails the tests of a package that leave something behind:
// goroutines, descriptors, threads in another network namespace, child processes,
// files and mounts.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// Tests have a temporary folder of the process's own, so that what lies there, or
// is mounted there, is known to be theirs though other tests run beside them.
package leaktest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what ends by itself may take: a descriptor is closed by a
// goroutine that was told, a child is reaped. A test makes it shorter.
var patience = 5 * time.Second

const poll = 10 * time.Millisecond

// Tests is *testing.M, or that with more to do afterwards.
type Tests interface{ Run() int }

// Main runs the tests, then ends the process: with the tests' own code, or with
// 1 and the list of what is left. ignore is for goroutines that are meant to stay.
func Main(m Tests, ignore ...goleak.Option) {
	os.Exit(code(m.Run, ignore...))
}

func code(run func() int, ignore ...goleak.Option) int {
	c, err := Begin()
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	code := run()
	err = c.End(ignore...)
	if code == 0 && err != nil && !searching() {
		fmt.Fprintln(os.Stderr, "leaktest: the tests passed and left something behind:", err)
		return 1
	}
	return code
}

// searching says that go test -fuzz runs: it kills workers that are slow to end,
// whatever they have open. The seeds are run, and looked at, by every other go test.
func searching() bool {
	f := flag.Lookup("test.fuzz")
	return f != nil && f.Value.String() != ""
}

// Check compares what a process has before and after its tests.
type Check struct {
	before holdings
	// temp is the process's temporary folder, outer what it was before.
	temp, outer string
}

// Begin looks at what the process has and gives it a temporary folder.
func Begin() (*Check, error) {
	c := &Check{outer: os.Getenv(tempVariable)}
	var err error
	if c.temp, err = makeTemp(); err != nil {
		return nil, fmt.Errorf("make temporary folder: %w", err)
	}
	// Tests run programs as nobody, who have to come by.
	if err := os.Chmod(c.temp, 0o755); err != nil {
		return nil, fmt.Errorf("make temporary folder: %w", err)
	}
	if err := os.Setenv(tempVariable, c.temp); err != nil {
		return nil, err
	}
	c.before, err = hold()
	return c, err
}

// makeTemp makes a folder with the process's number in its name, by which ci/lib/sweep.sh finds those of processes that were
// killed. It is short: names of unix sockets have 108 bytes at most.
func makeTemp() (string, error) {
	for n := 0; ; n++ {
		folder := filepath.Join(os.TempDir(), fmt.Sprintf("lt%d-%d", os.Getpid(), n))
		if err := os.Mkdir(folder, 0o700); !errors.Is(err, fs.ErrExist) {
			return folder, err
		}
	}
}

const tempVariable = "TMPDIR"

// End says what is there that was not at the begin, a line each, and takes the
// temporary folder away.
func (c *Check) End(ignore ...goleak.Option) error {
	var errs []error
	if err := goleak.Find(ignore...); err != nil {
		errs = append(errs, err)
	}
	left, err := c.settled()
	if err != nil {
		errs = append(errs, err)
	}
	if len(left) > 0 {
		errs = append(errs, errors.New("\n\t"+strings.Join(left, "\n\t")))
	}
	errs = append(errs, unmountBelow(c.temp), os.RemoveAll(c.temp), os.Setenv(tempVariable, c.outer))
	return errors.Join(errs...)
}

// settled waits until nothing is left, within patience.
func (c *Check) settled() ([]string, error) {
	again := time.NewTicker(poll)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		left, err := c.left()
		if err != nil || len(left) == 0 {
			return left, err
		}
		select {
		case <-deadline:
			return left, nil
		case <-again.C:
		}
	}
}

func (c *Check) left() ([]string, error) {
	now, err := hold()
	if err != nil {
		return nil, err
	}
	left := now.since(c.before)
	below, err := filesBelow(c.temp)
	return append(left, below...), err
}
