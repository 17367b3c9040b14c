package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pid names a process beyond the reuse of its number.
type pid struct {
	PID int `json:"pid"`
	// Start is the process's start in clock ticks since boot, field 22 of
	// proc_pid_stat(5).
	Start uint64 `json:"start"`
}

// identify reads the start time of process number.
func identify(number int) (pid, error) {
	start, _, err := readStat(number)
	return pid{number, start}, err
}

// alive tells whether the process runs. A zombie does not.
func (p pid) alive() bool {
	start, state, err := readStat(p.PID)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// signal sends sig to the process group that the process leads.
func (p pid) signal(sig unix.Signal) error {
	if start, _, err := readStat(p.PID); err != nil || start != p.Start {
		return nil
	}
	if err := unix.Kill(-p.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process group %d: %w", p.PID, err)
	}
	return nil
}

// wait blocks until the process has ended or ctx ends. It need not be a child.
func (p pid) wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	for p.alive() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for process %d to end: %w", p.PID, err)
		}
		// Short, so that the end of ctx is seen.
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int((50 * time.Millisecond).Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", p.PID, err)
		}
	}
	return nil
}

// readStat returns start time and state of a process.
func readStat(number int) (start uint64, state byte, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", number))
	if err != nil {
		return 0, 0, err
	}
	// The command name in field 2 may hold blanks and parentheses.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("read state of process %d: too few fields", number)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return start, fields[0][0], err
}
