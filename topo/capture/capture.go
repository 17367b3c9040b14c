package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of Options.
const (
	DefaultSnaplen   = 1 << 17 // longer than any GSO frame of IPv4
	DefaultLimit     = 16 << 20
	DefaultPcapLimit = 64 << 20
)

// Options of Open.
type Options struct {
	// Interface to capture on. Required.
	Interface string
	// Node names the machine in frames and hops. Optional.
	Node string
	// Enter runs a function in the interface's network namespace; netns.NetNS's method Do is one. Optional: the caller's.
	Enter func(func() error) error
	// Filter chooses what is kept in memory. It runs on the capture's goroutine. Optional: everything.
	Filter func(Frame) bool
	// Snaplen cuts frames to so many bytes. Optional, DefaultSnaplen.
	Snaplen int
	// Limit of frame bytes in memory: the oldest give way. Optional, DefaultLimit.
	Limit int
	// Pcap receives every frame, whatever Filter says, as pcapng. Optional. The caller closes it after Stop.
	Pcap io.Writer
	// PcapLimit ends writing after so many frame bytes. Optional, DefaultPcapLimit.
	PcapLimit int
}

// Stats of a capture. Kept + Evicted frames passed the filter.
type Stats struct {
	Seen    uint64 // frames received
	Kept    uint64 // in memory now
	Evicted uint64 // gave way to newer ones
	Dropped uint64 // the kernel had no room for them: the capture is incomplete
}

// Capture records one interface until Stop. It is safe for concurrent use.
type Capture struct {
	options Options
	file    *os.File
	done    chan struct{} // closed when the receiving goroutine has ended
	result  error         // of the receiving goroutine, then of Stop; valid after done
	stop    sync.Once

	mu      sync.Mutex
	frames  []Frame
	first   uint64 // how many frames came before frames[0]
	bytes   int
	stats   Stats
	changed chan struct{} // closed at the next frame
}

// Open starts capturing: frames that pass after its return are recorded. The caller ends it with Stop.
func Open(o Options) (*Capture, error) {
	if o.Snaplen == 0 {
		o.Snaplen = DefaultSnaplen
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.PcapLimit == 0 {
		o.PcapLimit = DefaultPcapLimit
	}
	if o.Enter == nil {
		o.Enter = func(f func() error) error { return f() }
	}
	c := &Capture{options: o, done: make(chan struct{}), changed: make(chan struct{})}
	err := o.Enter(func() (err error) {
		c.file, _, err = packetSocket(o.Interface, unix.ETH_P_ALL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", o.Interface, err)
	}
	if err := c.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("capture on %s: %w", o.Interface, err), c.file.Close())
	}
	return c, nil
}

func (c *Capture) start() error {
	if err := settleClock(); err != nil {
		return err
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	record, err := newRecorder(c.options)
	if err != nil {
		return err
	}
	go func() {
		defer close(c.done)
		c.result = c.receive(&receiver{raw: raw, data: make([]byte, c.options.Snaplen)}, record)
	}()
	return nil
}

// receive runs until Stop sets the read deadline, then takes what was queued by then.
func (c *Capture) receive(r *receiver, record *recorder) error {
	next := r.next
	var stopped time.Time
	for {
		f, err := next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			next, stopped = r.queued, time.Now()
			continue
		case errors.Is(err, unix.EAGAIN), err == nil && !stopped.IsZero() && f.Time.After(stopped):
			return errors.Join(c.countDropped(r.raw), record.flush())
		case errors.Is(err, unix.ENETDOWN):
			continue // the interface went down; it may come up again
		case err != nil:
			return errors.Join(fmt.Errorf("capture on %s: %w", c.options.Interface, err), record.flush())
		}
		f.Node, f.Interface = c.options.Node, c.options.Interface
		record.write(f)
		c.keep(f)
	}
}

func (c *Capture) countDropped(raw syscall.RawConn) error {
	lost, err := dropped(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Dropped += lost
	return err
}

func (c *Capture) keep(f Frame) {
	match := c.options.Filter == nil || c.options.Filter(f)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Seen++
	if !match {
		return
	}
	c.frames = append(c.frames, f)
	c.bytes += len(f.Data)
	for c.bytes > c.options.Limit && len(c.frames) > 1 {
		c.bytes -= len(c.frames[0].Data)
		c.frames[0] = Frame{}
		c.frames = c.frames[1:]
		c.first++
		c.stats.Evicted++
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Stop takes the frames that the kernel still holds, flushes the pcap and ends the capture. Frames stays readable. It
// returns what went wrong since Open; a second call returns the same.
func (c *Capture) Stop() error {
	c.stop.Do(func() {
		err := c.file.SetReadDeadline(time.Unix(1, 0)) // fails only when the file is no socket
		<-c.done
		c.result = errors.Join(err, c.result, c.file.Close())
	})
	return c.result
}

// Frames returns what is in memory, oldest first.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.frames)
}

// Stats returns the counters. Dropped is known after Stop.
func (c *Capture) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Kept = uint64(len(c.frames))
	return s
}

// ErrEnded is returned by Wait when the capture was stopped without a match.
var ErrEnded = errors.New("capture ended")

// Wait returns the first frame in memory that matches, or waits for one until ctx ends.
func (c *Capture) Wait(ctx context.Context, match func(Frame) bool) (Frame, error) {
	var next uint64
	for {
		fresh, changed := c.since(next)
		for _, f := range fresh.frames {
			if match(f) {
				return f, nil
			}
		}
		next = fresh.end
		select {
		case <-changed:
		case <-c.done:
			if fresh, _ := c.since(next); len(fresh.frames) > 0 {
				continue
			}
			return Frame{}, fmt.Errorf("wait for a frame on %s %s: %w", c.options.Node, c.options.Interface, ErrEnded)
		case <-ctx.Done():
			s := c.Stats()
			return Frame{}, fmt.Errorf("wait for a frame on %s %s: none of %d kept and %d seen matches: %w",
				c.options.Node, c.options.Interface, s.Kept, s.Seen, ctx.Err())
		}
	}
}

// batch is a run of frames and the number of the frame after it.
type batch struct {
	frames []Frame
	end    uint64
}

// since returns the frames from number next on, and a channel that is closed when there are more.
func (c *Capture) since(next uint64) (batch, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	skip := max(next, c.first) - c.first
	return batch{slices.Clone(c.frames[skip:]), c.first + uint64(len(c.frames))}, c.changed
}
