package answers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/scenarios/harness/onelb"
)

// told is the ICMP error that a program's socket gets for its datagram: struct
// sock_extended_err, and who sent it (IP_RECVERR).
type told struct {
	Errno      unix.Errno
	Type, Code uint8
	MTU        uint32 // of "fragmentation needed"
	By         netip.Addr
}

// errSilence says that no error came in time.
var errSilence = errors.New("no ICMP error came")

// socket is a UDP socket whose datagrams must not be cut on their way. Close it.
type socket int

// dial opens a socket on a node that asks for errors; ttl 0 is the usual one.
func dial(lab *onelb.Lab, node string, to netip.AddrPort, ttl int) (s socket, err error) {
	err = lab.Node(node).Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s = socket(fd)
		options := []error{
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO),
		}
		if ttl > 0 {
			options = append(options, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl))
		}
		return errors.Join(append(options, unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}))...)
	})
	return s, err
}

func (s socket) close() error { return unix.Close(int(s)) }

// send sends a datagram of size bytes of payload. The kernel refuses one that it
// knows to be too long, by EMSGSIZE.
func (s socket) send(size int) error {
	_, err := unix.Write(int(s), make([]byte, size))
	return err
}

// wait returns the next error that came for the socket.
func (s socket) wait(ctx context.Context, within time.Duration) (told, error) {
	deadline := time.Now().Add(within)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		// Errors are announced by POLLERR, which needs not be asked for.
		ready := []unix.PollFd{{Fd: int32(s)}}
		if _, err := unix.Poll(ready, 50); err != nil && !errors.Is(err, unix.EINTR) {
			return told{}, fmt.Errorf("wait for an ICMP error: %w", err)
		}
		if ready[0].Revents&unix.POLLERR != 0 {
			return s.read()
		}
	}
	return told{}, errSilence
}

func (s socket) read() (told, error) {
	control := make([]byte, 256)
	_, n, _, _, err := unix.Recvmsg(int(s), make([]byte, 2048), control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return told{}, fmt.Errorf("read the ICMP error: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return told{}, err
	}
	for _, m := range messages {
		// 16 bytes of sock_extended_err, then a sockaddr_in of the offender.
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR && len(m.Data) >= 24 {
			return told{
				Errno: unix.Errno(binary.NativeEndian.Uint32(m.Data)), Type: m.Data[5], Code: m.Data[6],
				MTU: binary.NativeEndian.Uint32(m.Data[8:]), By: netip.AddrFrom4([4]byte(m.Data[20:24])),
			}, nil
		}
	}
	return told{}, errors.New("read the ICMP error: the message is of something else")
}

// ask sends one datagram and returns what the socket is told of it.
func ask(ctx context.Context, lab *onelb.Lab, node string, to netip.AddrPort, ttl, size int, within time.Duration) (told, error) {
	s, err := dial(lab, node, to, ttl)
	if err != nil {
		return told{}, err
	}
	defer func() { _ = s.close() }()
	if err := s.send(size); err != nil {
		return told{}, err
	}
	return s.wait(ctx, within)
}
