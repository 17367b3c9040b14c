// Package rtnl tells when the kernel's links, addresses, routes or neighbours
// change. It says what kind of thing changed, not what became of it: a reader
// lists again and compares, so that a message lost under load (ENOBUFS) costs
// a listing and no truth.
package rtnl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is a set of things that can change.
type Kind uint8

// The kinds. All is what a listener has to assume after a loss.
const (
	Links Kind = 1 << iota
	Addresses
	Routes
	Neighbours

	All = Links | Addresses | Routes | Neighbours
)

// Has says whether k and other have a kind in common.
func (k Kind) Has(other Kind) bool { return k&other != 0 }

// receiveBuffer in bytes; the kernel doubles it. A thousand interfaces that
// appear at once make about 1.5 MB of messages.
const receiveBuffer = 2 << 20

// Listener receives changes of the network namespace in which it was made.
// Not safe for concurrent use, Close excepted.
type Listener struct {
	file   *os.File
	buffer []byte
}

// Listen subscribes to IPv4 changes of the kinds given, and of links. What
// changes after Listen has returned is seen. The caller closes the listener.
func Listen(kinds Kind) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	// Without CAP_NET_ADMIN for the force the default size has to do.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups(kinds)}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	return &Listener{file: os.NewFile(uintptr(fd), "rtnetlink"), buffer: make([]byte, 64<<10)}, nil
}

func groups(kinds Kind) uint32 {
	var mask uint32
	for kind, group := range map[Kind]uint32{
		Links:      unix.RTMGRP_LINK,
		Addresses:  unix.RTMGRP_IPV4_IFADDR,
		Routes:     unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV4_RULE,
		Neighbours: unix.RTMGRP_NEIGH,
	} {
		if kinds.Has(kind) {
			mask |= group
		}
	}
	return mask
}

// Close ends a Next that waits.
func (l *Listener) Close() error { return l.file.Close() }

// Next waits until something changes and returns what. It returns ctx's error
// when ctx ends, and All when messages were lost.
func (l *Listener) Next(ctx context.Context) (Kind, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		n, err := l.file.Read(l.buffer)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			return All, nil
		case err != nil:
			return 0, fmt.Errorf("read rtnetlink: %w", err)
		}
		if kind := kindsIn(l.buffer[:n]); kind != 0 {
			return kind, nil
		}
	}
}
