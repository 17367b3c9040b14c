package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The TCP server greets, then echoes. A client whose first byte is commandMark sends one command line instead:
// "!receive N" (N bytes follow; the server answers with their SHA-256) or "!send N" (the server sends the N bytes of
// stream and their SHA-256).
const (
	commandMark    = '!'
	commandReceive = "receive"
	commandSend    = "send"
	maxLine        = 128
	bulkBuffer     = 256 << 10 // one write for the kernel to segment, bytes
)

// stream is the deterministic content of transfers: the same bytes on every run and machine.
func stream(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{'w', 'e', 'i', 'r'}), n)
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	case *net.UDPAddr:
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// listenTCP listens as plain servers do: no Multipath TCP, which Go would offer, and no keepalives that captures see.
func listenTCP(enter Enter, at netip.AddrPort) (l net.Listener, err error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	err = enter.run(func() (err error) {
		l, err = config.Listen(context.Background(), "tcp4", at.String())
		return err
	})
	return l, err
}

type tcpService struct {
	name     string
	listener net.Listener
}

func (s *tcpService) addr() netip.AddrPort { return addrPort(s.listener.Addr()) }
func (s *tcpService) close() error         { return s.listener.Close() }

func (s *tcpService) serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return err
		}
		conns.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			_ = s.handle(conn) // the client sees and reports what went wrong
		})
	}
}

func (s *tcpService) handle(conn net.Conn) error {
	if _, err := conn.Write(greet(s.name, addrPort(conn.RemoteAddr()))); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, bulkBuffer)
	first, err := r.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == commandMark {
		return command(conn, r)
	}
	_, err = io.Copy(conn, r)
	return err
}

func command(conn net.Conn, r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	verb, count, _ := strings.Cut(strings.TrimPrefix(line, string(commandMark)), " ")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 0 {
		_, err = fmt.Fprintf(conn, "command %q: want a number of bytes\n", line)
		return err
	}
	hash := sha256.New()
	switch verb {
	case commandReceive:
		if _, err := io.CopyN(hash, r, n); err != nil {
			return err
		}
	case commandSend:
		if err := copyStream(conn, io.TeeReader(stream(n), hash)); err != nil {
			return err
		}
	default:
		_, err := fmt.Fprintf(conn, "command %q: unknown; use receive or send\n", line)
		return err
	}
	_, err = fmt.Fprintln(conn, hex.EncodeToString(hash.Sum(nil)))
	return err
}

// copyStream writes in pieces that are large enough for segmentation offload to do its work.
func copyStream(w io.Writer, r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, bulkBuffer))
	return err
}

// readLine reads a line of at most maxLine bytes, without its end.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < maxLine {
		b, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return string(line), nil
		}
		line = append(line, b)
	}
	return "", fmt.Errorf("%w: line %.20q has no end", ErrWrongAnswer, line)
}

// dialTCP connects from the request's source in the client's namespace.
func (c *Client) dialTCP(ctx context.Context, r Request) (conn net.Conn, err error) {
	dialer := net.Dialer{KeepAlive: -1}
	if r.Source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(r.Source)
		dialer.Control = shareSource
	}
	err = c.Enter.run(func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp4", r.Target.String())
		return err
	})
	return conn, err
}

// shareSource lets a bound source be used again as soon as the four-tuple is free.
func shareSource(_, _ string, raw syscall.RawConn) error {
	var err error
	if ctlErr := raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
			// Without a port, let connect choose it: it may then be one that is in use towards another peer.
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
	}); ctlErr != nil {
		return ctlErr
	}
	return err
}

// tcpSession is a connection whose greeting has been read.
type tcpSession struct {
	conn     net.Conn
	reader   *bufio.Reader
	greeting string
}

func (c *Client) openTCP(ctx context.Context, r Request) (transport, error) {
	conn, err := c.dialTCP(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &tcpSession{conn: conn, reader: bufio.NewReaderSize(conn, bulkBuffer)}
	defer bound(ctx, conn)()
	if s.greeting, err = readLine(s.reader); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	return s, nil
}

func (s *tcpSession) local() netip.AddrPort { return addrPort(s.conn.LocalAddr()) }

func (s *tcpSession) exchange(ctx context.Context, payload []byte) (string, error) {
	defer bound(ctx, s.conn)()
	if _, err := s.conn.Write(payload); err != nil {
		return "", err
	}
	echo := make([]byte, len(payload))
	if _, err := io.ReadFull(s.reader, echo); err != nil {
		return "", err
	}
	if !bytes.Equal(echo, payload) {
		return "", fmt.Errorf("%w: the echo differs from the %d bytes sent", ErrWrongAnswer, len(payload))
	}
	return s.greeting, nil
}

// ResentTCP counts the segments that this side of a connection has sent again.
func ResentTCP(conn net.Conn) (int, error) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err = errors.Join(err, infoErr); err != nil {
		return 0, fmt.Errorf("read TCP_INFO: %w", err)
	}
	return int(info.Total_retrans), nil
}

// close ends our side and waits for the server's end, so that the connection is over on both when it returns.
func (s *tcpSession) close(ctx context.Context) error {
	defer s.conn.Close()
	defer bound(ctx, s.conn)()
	if err := s.conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, s.reader)
	if err == nil && n > 0 {
		err = fmt.Errorf("%w: %d bytes after the last answer", ErrWrongAnswer, n)
	}
	return err
}
