// Package buffer sizes the receive buffers of sockets.
package buffer

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Receive gives a socket a receive buffer of so many bytes; without CAP_NET_ADMIN, as in most containers, what the
// machine's net.core.rmem_max allows of them.
func Receive(fd, bytes int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
	}
	return err
}
