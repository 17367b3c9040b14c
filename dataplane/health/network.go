package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Network probes over the network namespace of the process. IPv4 only. SCTP
// and ping need CAP_NET_RAW. The zero value is ready.
type Network struct {
	// Taken says that a flow uses the port towards the target in place of a
	// client's. Optional. It is called while a probe's time runs.
	Taken func(t Target, port uint16) bool
}

var _ Prober = (*Network)(nil)

// Probe asks t once.
func (n *Network) Probe(ctx context.Context, t Target) (time.Duration, error) {
	switch t.Type {
	case v1.ProbeTCP:
		return n.tcp(ctx, t)
	case v1.ProbeUDP:
		return n.udp(ctx, t)
	case v1.ProbeSCTP:
		return n.sctp(ctx, t)
	case v1.ProbeHTTP, v1.ProbeHTTPS:
		return n.http(ctx, t)
	case v1.ProbePing:
		return n.ping(ctx, t)
	}
	return 0, fmt.Errorf("probe with %q: no such probe: %w", t.Type, ErrInconclusive)
}

// portTries bounds the search for a source port that no flow uses. Where a
// third of all ports are used it fails once in forty million times.
const portTries = 16

var errTaken = errors.New("source port is a flow's")

func (n *Network) taken(t Target, port uint16) bool { return n.Taken != nil && n.Taken(t, port) }

// dial connects from a port that no flow uses. prepare sets the socket up.
func (n *Network) dial(ctx context.Context, network string, t Target, prepare func(fd int) error) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if controlErr := c.Control(func(fd uintptr) {
			if err = prepare(int(fd)); err == nil {
				err = n.bind(int(fd), t)
			}
		}); controlErr != nil {
			return controlErr
		}
		return err
	}}
	for range portTries {
		conn, err := dialer.DialContext(ctx, network, t.Address.String())
		if !errors.Is(err, errTaken) {
			return conn, err
		}
	}
	return nil, noPort()
}

// bind lets the kernel choose a port and refuses one that a flow uses.
func (n *Network) bind(fd int, t Target) error {
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if bound, ok := name.(*unix.SockaddrInet4); ok && n.taken(t, uint16(bound.Port)) {
		return errTaken
	}
	return nil
}

func noPort() error {
	return fmt.Errorf("choose source port: flows use all of %d that were tried: %w", portTries, ErrInconclusive)
}

// own has the errors that are this node's and say nothing of the target: no
// room for a socket, no right to one, no port, a local firewall.
var own = []error{
	unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EADDRINUSE, unix.EADDRNOTAVAIL,
}

// because turns what came of doing something into the error of a probe.
func because(ctx context.Context, doing string, err error) error {
	if errors.Is(err, ErrInconclusive) {
		return err
	}
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s: no answer in time", doing)
	}
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return fmt.Errorf("%s: %v", doing, err)
	}
	for _, o := range own {
		if errors.Is(errno, o) {
			return fmt.Errorf("%s: %v: %w", doing, errno, ErrInconclusive)
		}
	}
	return fmt.Errorf("%s: %v", doing, errno)
}

// unreachable is because for protocols in which an errno stands for an ICMP
// error; one that only the host itself sends is a refusal.
func unreachable(ctx context.Context, doing string, err error) error {
	for errno, what := range map[unix.Errno]string{
		unix.ECONNREFUSED: "port unreachable",
		unix.ENOPROTOOPT:  "protocol unreachable",
		unix.EHOSTUNREACH: "host unreachable",
		unix.ENETUNREACH:  "network unreachable",
	} {
		if !errors.Is(err, errno) {
			continue
		}
		text := doing + ": " + what
		if errno == unix.ECONNREFUSED || errno == unix.ENOPROTOOPT {
			return refusal(text)
		}
		return errors.New(text)
	}
	return because(ctx, doing, err)
}

// refusal is an ICMP error that an endpoint's host has sent.
type refusal string

func (r refusal) Error() string { return string(r) }
