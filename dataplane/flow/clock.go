package flow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/bpf"
)

// Clock reads the kernel's jiffies, by which flows note when they were seen
// last, and knows how long one takes. Safe for concurrent use.
type Clock struct {
	program *ebpf.Program

	mu    sync.Mutex
	first bpf.Clock
	hz    uint32
}

// NewClock takes a first reading by the program read_clock, which the caller
// keeps open.
func NewClock(program *ebpf.Program) (*Clock, error) {
	c := &Clock{program: program}
	var err error
	c.first, err = c.read()
	return c, err
}

// minReading is how far apart two readings must be to tell the tick's length
// (bpf.HZ).
const minReading = 100 * time.Millisecond

// Instant is a moment of the kernel's tick counter.
type Instant struct {
	jiffies uint32
	hz      uint32
}

// Now reads the clock. Within the first tenth of a second it waits for the
// rest of it, because the length of a tick cannot be told before.
func (c *Clock) Now(ctx context.Context) (Instant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.read()
	if err != nil {
		return Instant{}, err
	}
	if c.hz == 0 {
		elapsed := time.Duration(now.Nanoseconds - c.first.Nanoseconds)
		if elapsed < minReading {
			if err := wait(ctx, minReading-elapsed+time.Millisecond); err != nil {
				return Instant{}, err
			}
			if now, err = c.read(); err != nil {
				return Instant{}, err
			}
		}
		if c.hz = bpf.HZ(c.first, now); c.hz == 0 {
			return Instant{}, fmt.Errorf("read kernel clock: two readings %v apart do not tell the tick's length", elapsed)
		}
	}
	return Instant{jiffies: uint32(now.Jiffies), hz: c.hz}, nil
}

// Since returns how long before i a flow was seen. A flow that was seen after
// i was taken is zero old, and not 49 days.
func (i Instant) Since(lastSeen uint32) time.Duration {
	ticks := int32(i.jiffies - lastSeen)
	if ticks < 0 {
		return 0
	}
	return time.Duration(ticks) * time.Second / time.Duration(i.hz)
}

func (c *Clock) read() (bpf.Clock, error) {
	var now bpf.Clock
	if _, err := c.program.Run(&ebpf.RunOptions{Context: &bpf.Clock{}, ContextOut: &now}); err != nil {
		return now, fmt.Errorf("read kernel clock: %w", err)
	}
	return now, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
