package dataplane

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// claim takes the network namespace for this process, until what it returns is
// closed. Two dataplanes with pins of their own would know each other's filters and
// routes for what an earlier run has left, and take them away.
func claim() (*os.File, error) {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	// The lock is the process's: it ends with it, however it ends.
	if err := unix.Flock(int(ns.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = fmt.Errorf("lock network namespace: another weir forwards here (%w); stop that one, or run this one in another namespace", err)
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}
