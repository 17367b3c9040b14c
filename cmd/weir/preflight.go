package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane"
)

// preflight says in one error everything that is missing, before anything is
// touched.
func preflight(peer bool) error {
	if !peer {
		return dataplane.Preflight()
	}
	effective, err := capabilities()
	if err != nil {
		return err
	}
	return peerMay(effective)
}

// peerMay tells whether a peer may work with these capabilities: it has no
// programs, and only writes routes.
func peerMay(effective uint64) error {
	if effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errors.New("check machine, nothing was touched: CAP_NET_ADMIN is missing, run as root or add it")
	}
	return nil
}

// capabilities returns the effective set of this process, a bit each.
func capabilities() (uint64, error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective), nil
}
