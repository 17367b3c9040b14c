package health

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// greeting is what LoxiLB sends, so servers behind it know it. Not empty: to
// some programs a datagram without content is the end of input.
const greeting = "probe"

// udp sends a datagram and waits for what contradicts that somebody took it,
// or for the answer that the target must give.
func (n *Network) udp(ctx context.Context, t Target) (time.Duration, error) {
	conn, err := n.dial(ctx, "udp4", t, func(fd int) error {
		// Else host and network unreachable are not told.
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1))
	})
	if err != nil {
		return 0, unreachable(ctx, "send", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	started := time.Now()
	if _, err := conn.Write([]byte(cmp.Or(t.Spec.Request, greeting))); err != nil {
		return 0, unreachable(ctx, "send", err)
	}
	answer := make([]byte, maxPacket)
	size, err := conn.Read(answer)
	switch {
	case err == nil && bytes.Contains(answer[:size], []byte(t.Spec.Expect)):
		return time.Since(started), nil
	case err == nil:
		return 0, fmt.Errorf("send: the answer does not contain %q", t.Spec.Expect)
	case errors.Is(err, os.ErrDeadlineExceeded) && t.silent():
		return 0, nil
	}
	return 0, unreachable(ctx, "send", err)
}
