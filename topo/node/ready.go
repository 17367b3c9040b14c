package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/weir-lb/weir/topo/spec"
)

// pollInterval is how often a condition is looked at; a topology has few.
const pollInterval = 20 * time.Millisecond

// logTail is how many lines of a log an error shows.
const logTail = 20

// errEnded says that waiting for a process has no point any more.
var errEnded = errors.New("it ended")

// WaitReady waits until the process is ready as its page says, for at most
// the page's time-out. A process without a condition is ready at once.
func (p *Process) WaitReady(ctx context.Context) error {
	r := p.Spec.Ready
	if r == nil {
		return nil
	}
	timeout := r.Timeout
	if timeout == 0 {
		timeout = spec.DefaultReadyTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	check, err := p.readyCheck()
	if err != nil {
		return err
	}
	err = poll(ctx, func() error {
		if !p.Running() {
			return errEnded
		}
		return check(ctx)
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be ready: %w; end of %s:\n%s", p, err, p.Log(), p.Tail(logTail))
	}
	return nil
}

// readyCheck returns the look that tells whether the process is ready.
func (p *Process) readyCheck() (func(context.Context) error, error) {
	r := p.Spec.Ready
	target, err := p.node.Vars.Expand(r.Socket + r.File + r.TCP)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	switch {
	case r.File != "":
		return func(context.Context) error { _, err := os.Stat(target); return err }, nil
	case r.Socket != "":
		return func(ctx context.Context) error { return closing(d.DialContext(ctx, "unix", target)) }, nil
	case r.TCP != "":
		return func(ctx context.Context) error { return closing(p.node.Dial(ctx, "tcp", target)) }, nil
	}
	words, err := p.words(r.Command)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := p.node.Run(ctx, words[0], words[1:]...)
		return err
	}, nil
}

func closing(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}

// poll looks until check succeeds, or gives up with its last error when ctx
// ends or check says errEnded.
func poll(ctx context.Context, check func() error) error {
	t := time.NewTicker(pollInterval)
	defer t.Stop()
	for {
		err := check()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last: %w)", ctx.Err(), err)
		case <-t.C:
		}
	}
}

// Tail returns the last lines of the process's log, for errors.
func (p *Process) Tail(lines int) string {
	b, err := os.ReadFile(p.Log())
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	return "  | " + string(bytes.Join(all, []byte("\n  | ")))
}
