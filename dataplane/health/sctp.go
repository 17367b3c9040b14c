package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sourcePorts of associations are the dynamic ports (RFC 6335 section 6).
const (
	firstSourcePort = 49152
	lastSourcePort  = 65535
)

// sctp asks for an association and takes nothing up. A kernel that has SCTP
// sees the answer too and aborts it as not its own; so does this probe, so that
// firewalls on the way forget it where the kernel has none. An endpoint keeps
// no state for either (RFC 9260, 5.1).
func (n *Network) sctp(ctx context.Context, t Target) (time.Duration, error) {
	a, err := n.associate(t)
	if err != nil {
		return 0, err
	}
	s, err := dialRaw(t)
	if err != nil {
		return 0, unreachable(ctx, "send INIT", err)
	}
	defer s.file.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	started := time.Now()
	if err := s.send(a.init(rand.Uint32())); err != nil {
		return 0, unreachable(ctx, "send INIT", err)
	}
	peer, err := s.await(a)
	if err != nil {
		return 0, unreachable(ctx, "send INIT", err)
	}
	latency := time.Since(started)
	_ = s.send(a.abort(peer)) // lost, it changes nothing for the endpoint
	return latency, nil
}

// associate chooses a port that no flow uses and a tag that nobody can guess.
func (n *Network) associate(t Target) (association, error) {
	for range portTries {
		port := uint16(firstSourcePort + rand.IntN(lastSourcePort-firstSourcePort+1))
		if !n.taken(t, port) {
			return association{source: port, destination: t.Address.Port(), tag: rand.Uint32N(1<<32-1) + 1}, nil
		}
	}
	return association{}, noPort()
}

// errAborted is an ABORT in answer to INIT.
var errAborted = errors.New("ABORT, nobody listens")

// rawSocket receives SCTP packets of one peer, without IP header, and ICMP
// errors about any that go there.
type rawSocket struct {
	file   *os.File
	buffer []byte
}

// maxPacket in bytes: an INIT ACK with its cookie is a few hundred; more is cut.
const maxPacket = 2048

func dialRaw(t Target) (*rawSocket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, fmt.Errorf("open raw socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: t.Address.Addr().As4()})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &rawSocket{file: os.NewFile(uintptr(fd), "sctp"), buffer: make([]byte, maxPacket)}, nil
}

func (s *rawSocket) send(packet []byte) error {
	_, err := s.file.Write(packet)
	return err
}

// await returns the peer's initiate tag when it accepts the association.
func (s *rawSocket) await(a association) (peer uint32, err error) {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	waitErr := conn.Read(func(fd uintptr) bool {
		var done bool
		peer, done, err = s.drain(int(fd), a)
		return done
	})
	if waitErr != nil {
		return 0, waitErr
	}
	return peer, err
}

// drain reads what has come until it decides or nothing is left.
func (s *rawSocket) drain(fd int, a association) (peer uint32, done bool, err error) {
	for {
		n, _, err := unix.Recvfrom(fd, s.buffer, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return 0, false, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			// An ICMP error about some packet to this peer: maybe a flow's.
			if s.errorIsOurs(fd, a) {
				return 0, true, err
			}
			continue
		}
		switch what, peer := a.read(withoutIP(s.buffer[:n])); what {
		case accepted:
			return peer, true, nil
		case refused:
			return 0, true, errAborted
		}
	}
}

// errorIsOurs empties the error queue and says whether it quotes our INIT.
func (s *rawSocket) errorIsOurs(fd int, a association) bool {
	ours := false
	for {
		n, _, _, _, err := unix.Recvmsg(fd, s.buffer, nil, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return ours
		}
		ours = ours || a.quotedBy(s.buffer[:n])
	}
}

// withoutIP cuts the header off that a raw socket hands over with the packet.
func withoutIP(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	return p[min(int(p[0]&15)*4, len(p)):]
}
