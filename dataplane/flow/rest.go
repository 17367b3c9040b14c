package flow

import (
	"context"
	"time"
)

const (
	// entriesPerRest is about what one system call reads, some milliseconds of work.
	entriesPerRest = 4096
	// restRatio is how many times as long as it worked a walk rests: packets have the
	// caches to themselves, and in a machine whose CPUs share a core that too, for two
	// thirds of the time.
	restRatio = 2
	// longestRest is for a walk that waited itself, for a CPU.
	longestRest = 10 * time.Millisecond
)

// rests divide a walk over a table that nobody waits for. Not safe for concurrent use.
type rests struct {
	entries int
	since   time.Time // when the walk went on
}

// newRests is for a walk that begins now.
func newRests() rests { return rests{since: time.Now()} }

// next is called with each entry, and rests now and then, until ctx ends.
func (r *rests) next(ctx context.Context) {
	if r.entries++; r.entries%entriesPerRest != 0 {
		return
	}
	timer := time.NewTimer(min(restRatio*time.Since(r.since), longestRest))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	r.since = time.Now()
}
