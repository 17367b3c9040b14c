package programs

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is what costs are measured by. The zero value is the thread's CPU time,
// which does not see what else the machine does.
type Clock struct{ wall bool }

// NewClock returns the clock that is right for this kernel: one that accounts
// interrupts apart (IRQ_TIME_ACCOUNTING) leaves the softirq of a chain out of a
// thread's CPU time, and only the wall clock has it.
func NewClock() (Clock, error) {
	config, err := kernelConfig()
	if err != nil {
		return Clock{}, err
	}
	return Clock{wall: strings.Contains(config, "\nCONFIG_IRQ_TIME_ACCOUNTING=y\n")}, nil
}

// String names the clock.
func (c Clock) String() string {
	if c.wall {
		return "wall clock (the kernel accounts interrupts apart: use an idle machine)"
	}
	return "CPU time of the measuring thread"
}

func (c Clock) now() (time.Duration, error) {
	var id int32 = unix.CLOCK_THREAD_CPUTIME_ID
	if c.wall {
		id = unix.CLOCK_MONOTONIC
	}
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, fmt.Errorf("read %s: %w", c, err)
	}
	return time.Duration(t.Nano()), nil
}

// kernelConfig reads what the running kernel was built with; empty where it does
// not say, as most that have no interrupt accounting either.
func kernelConfig() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("read kernel version: %w", err)
	}
	if b, err := os.ReadFile("/boot/config-" + unix.ByteSliceToString(u.Release[:])); err == nil {
		return string(b), nil
	}
	f, err := os.Open("/proc/config.gz")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read kernel configuration: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("read kernel configuration: %w", err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return "", fmt.Errorf("read kernel configuration: %w", err)
	}
	return string(b), nil
}
