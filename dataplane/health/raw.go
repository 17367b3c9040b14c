package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// exchange is one question over a raw socket and what may answer it.
type exchange interface {
	// read takes a packet from the peer, without its IP header, and tells
	// whether it ends the exchange, and how.
	read(packet []byte) (done bool, err error)
	// quotedBy says that an ICMP error is about the question: p is what it
	// quotes of the question's payload, of which 8 bytes are all that is sure
	// (RFC 792).
	quotedBy(p []byte) bool
}

// rawSocket receives packets of one protocol and peer, without their IP
// header, and ICMP errors about any that go there. It needs CAP_NET_RAW.
type rawSocket struct {
	file   *os.File
	buffer []byte
}

// maxPacket in bytes: an INIT ACK with its cookie is a few hundred; more is cut.
const maxPacket = 2048

// dialRaw opens a socket that ends its wait with ctx.
func dialRaw(ctx context.Context, protocol int, peer netip.Addr) (*rawSocket, func(), error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, nil, fmt.Errorf("open raw socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: peer.As4()})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, nil, err
	}
	s := &rawSocket{file: os.NewFile(uintptr(fd), "raw"), buffer: make([]byte, maxPacket)}
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetDeadline(time.Unix(1, 0)) })
	return s, func() { stop(); _ = s.file.Close() }, nil
}

// ask sends a question and returns how long its answer took.
func (s *rawSocket) ask(question []byte, x exchange) (time.Duration, error) {
	started := time.Now()
	if err := s.send(question); err != nil {
		return 0, err
	}
	if err := s.await(x); err != nil {
		return 0, err
	}
	return time.Since(started), nil
}

// await returns when x ends.
func (s *rawSocket) await(x exchange) error {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	waitErr := conn.Read(func(fd uintptr) bool {
		var done bool
		done, err = s.drain(int(fd), x)
		return done
	})
	if waitErr != nil {
		return waitErr
	}
	return err
}

func (s *rawSocket) send(packet []byte) error {
	_, err := s.file.Write(packet)
	return err
}

// drain reads what has come until x ends or nothing is left.
func (s *rawSocket) drain(fd int, x exchange) (done bool, err error) {
	for {
		n, _, err := unix.Recvfrom(fd, s.buffer, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			// An ICMP error about some packet to this peer: maybe a flow's.
			if s.errorIsOurs(fd, x) {
				return true, err
			}
			continue
		}
		if done, err := x.read(withoutIP(s.buffer[:n])); done {
			return true, err
		}
	}
}

// errorIsOurs empties the error queue and says whether it quotes our question.
func (s *rawSocket) errorIsOurs(fd int, x exchange) bool {
	ours := false
	for {
		n, _, _, _, err := unix.Recvmsg(fd, s.buffer, nil, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return ours
		}
		ours = ours || x.quotedBy(s.buffer[:n])
	}
}

// withoutIP cuts the header off that a raw socket hands over with the packet.
func withoutIP(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	return p[min(int(p[0]&15)*4, len(p)):]
}
