package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/onsi/ginkgo/v2"
)

// snapshotTimeout bounds the reading of counters at the begin of a step: a
// node that hangs must not hold up the spec.
const snapshotTimeout = 2 * time.Second

// step is one Step of the present spec.
type step struct {
	number int
	text   string
	where  string // file:line
	before map[*Scenario]snapshot
}

// String is "2 the backend answers (nat_test.go:80)".
func (s *step) String() string { return fmt.Sprintf("%d %s (%s)", s.number, s.text, s.where) }

// Step runs f as a step of the spec. When it or what follows fails, the report
// says which packets each node took, and where they went, since it began.
func Step(text string, f func()) {
	_, file, line, _ := runtime.Caller(1)
	s := &step{
		number: len(present.steps) + 1, text: text, where: fmt.Sprintf("%s:%d", filepath.Base(file), line),
		before: snapshots(),
	}
	present.steps = append(present.steps, s)
	ginkgo.By(text)
	f()
}

// snapshots reads the counters of every topology that stands.
func snapshots() map[*Scenario]snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
	defer cancel()
	all := map[*Scenario]snapshot{}
	for _, s := range present.scenarios {
		all[s] = s.snapshot(ctx)
	}
	return all
}
