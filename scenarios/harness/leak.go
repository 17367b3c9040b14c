package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/netns"
)

// ginkgosOwn is the function of a goroutine that Ginkgo never ends.
const ginkgosOwn = "github.com/onsi/ginkgo/v2/internal/interrupt_handler.(*InterruptHandler).registerForInterrupts.func2"

// hostTimeout bounds the look at the machine's own routes and rules.
const hostTimeout = 10 * time.Second

// leakCheck compares the test process and the machine before and after a suite.
type leakCheck struct {
	process *leaktest.Check
	// host are the machine's own routes and filter rules, in no namespace.
	host []string
	// outer is where temporary files are outside of the suite.
	outer string
}

// suiteLeaks is the check of the suite that runs; built are the topologies that
// it has brought up so far.
var suiteLeaks struct {
	leakCheck

	built []string
}

func beginLeakCheck() (leakCheck, error) {
	c := leakCheck{outer: os.TempDir()}
	var err error
	if c.host, err = hostState(); err != nil {
		return c, err
	}
	c.process, err = leaktest.Begin()
	return c, err
}

// end says what the suite has left behind: in its process, of its topologies, on
// the machine.
func (c leakCheck) end(topologies []string) error {
	errs := []error{c.process.End(goleak.IgnoreAnyFunction(ginkgosOwn))}
	for _, id := range topologies {
		for _, left := range leftOf(id) {
			errs = append(errs, fmt.Errorf("topology %s left %s", id, left))
		}
	}
	host, err := hostState()
	errs = append(errs, err)
	for _, line := range difference(c.host, host) {
		errs = append(errs, fmt.Errorf("the machine itself has changed: %s", line))
	}
	return errors.Join(errs...)
}

// leftOf lists what is there of a topology: its namespaces, folder, mounts and
// processes.
func leftOf(id string) []string {
	var left []string
	for _, pattern := range []string{filepath.Join(netns.Dir, "weir-"+id+"-*"), filepath.Join(topo.DefaultRoot, id)} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		left = append(left, found...)
	}
	dir := filepath.Join(topo.DefaultRoot, id) + "/"
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return append(left, err.Error())
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir) {
			left = append(left, "a mount on "+f[1])
		}
	}
	// Processes of a topology work in its folder, also when that is gone.
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, cwd := range cwds {
		if at, err := os.Readlink(cwd); err == nil && strings.HasPrefix(at, dir) {
			left = append(left, "process "+filepath.Base(filepath.Dir(cwd))+" in "+at)
		}
	}
	return left
}

// hostState lists routes and filter rules of the machine's own namespace.
func hostState() ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), hostTimeout)
	defer cancel()
	var state []string
	for _, command := range [][]string{{"ip", "-4", "-o", "route", "show", "table", "all"}, {"ip", "rule"}, {"iptables-save"}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			continue // what is not installed has set nothing
		}
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("look at the machine: %v: %w", command, err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":") { // comments and counters
				state = append(state, strings.TrimSpace(line))
			}
		}
	}
	return state, nil
}

// difference lists what one has and the other has not, with its sign.
func difference(before, after []string) []string {
	count := map[string]int{}
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var lines []string
	for _, line := range slices.Sorted(maps.Keys(count)) {
		switch {
		case count[line] > 0:
			lines = append(lines, "+ "+line)
		case count[line] < 0:
			lines = append(lines, "- "+line)
		}
	}
	return lines
}
