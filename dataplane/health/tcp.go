package health

import (
	"context"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tcp connects and resets. The kernel holds the handshake's last ACK back,
// since an application that answers at once would carry it along; the reset
// comes first, so that the server never accepts the connection and neither
// side keeps it in TIME_WAIT.
func (n *Network) tcp(ctx context.Context, t Target) (time.Duration, error) {
	started := time.Now()
	conn, err := n.dial(ctx, "tcp4", t, func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0))
	})
	if err != nil {
		return 0, because(ctx, "connect", err)
	}
	latency := time.Since(started)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close resets; a FIN would do too
	}
	_ = conn.Close()
	return latency, nil
}
