package probe

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/probe/buffer"
)

// datagramBuffer of the UDP server's socket, bytes: bursts of clients outrun one reader.
const datagramBuffer = 4 << 20

// maxDatagram is longer than any UDP payload.
const maxDatagram = 65536

type udpService struct {
	name string
	conn *net.UDPConn
}

func listenUDP(o ServerOptions, at netip.AddrPort) (*udpService, error) {
	s := &udpService{name: o.Name}
	err := o.Enter.run(func() (err error) {
		s.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.configure(); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	return s, nil
}

// configure asks for the address that each datagram came to: an answer has to leave from there, whatever the routes of
// a server with several addresses would choose.
func (s *udpService) configure() error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
			buffer.Receive(int(fd), datagramBuffer),
		)
	})
	return errors.Join(err, optErr)
}

func (s *udpService) addr() netip.AddrPort { return addrPort(s.conn.LocalAddr()) }
func (s *udpService) close() error         { return s.conn.Close() }

func (s *udpService) serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.conn.Close() })()
	buf, oob := make([]byte, maxDatagram), make([]byte, 128)
	for {
		n, oobn, _, client, err := s.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // an ICMP error for an earlier answer
		}
		answer := append(greet(s.name, client), buf[:n]...)
		// A lost answer is the client's to notice.
		_, _, _ = s.conn.WriteMsgUDPAddrPort(answer, replyFrom(oob[:oobn]), client)
	}
}

// replyFrom turns the control message of a received datagram into one that sends from the address it came to.
func replyFrom(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		// struct in_pktinfo: interface index, local address, destination of the header.
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 12 {
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])})
		}
	}
	return nil
}

type udpSession struct{ conn *net.UDPConn }

func (c *Client) openUDP(_ context.Context, r Request) (transport, error) {
	var local *net.UDPAddr
	if r.Source.IsValid() {
		local = net.UDPAddrFromAddrPort(r.Source)
	}
	s := &udpSession{}
	err := c.Enter.run(func() (err error) {
		s.conn, err = net.DialUDP("udp4", local, net.UDPAddrFromAddrPort(r.Target))
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *udpSession) local() netip.AddrPort { return addrPort(s.conn.LocalAddr()) }

// exchange waits for the answer that carries this very payload; late answers to earlier ones are passed over.
func (s *udpSession) exchange(ctx context.Context, payload []byte) (string, error) {
	defer bound(ctx, s.conn)()
	if _, err := s.conn.Write(payload); err != nil {
		return "", err
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return "", err
		}
		if greeting, echo, ok := bytes.Cut(buf[:n], []byte("\n")); ok && bytes.Equal(echo, payload) {
			return string(greeting), nil
		}
	}
}

func (s *udpSession) close(context.Context) error { return s.conn.Close() }
