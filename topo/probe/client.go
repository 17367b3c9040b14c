package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// DefaultTimeout of a request.
const DefaultTimeout = 5 * time.Second

// Request asks a server who it is.
type Request struct {
	Protocol Protocol
	Target   netip.AddrPort // IPv4
	// Source is where the client speaks from. Optional; port 0 lets the kernel choose. The address must be local to the
	// namespace; `ip route add local 10.9.0.0/16 dev lo` makes a whole prefix so.
	Source netip.AddrPort
	// Size of the payload in bytes, which the server echoes; at least the identity's. Optional. HTTP has none.
	Size int
	// SendOnce has a message over SCTP that is lost on its way there or back missing, as a datagram is: nothing is sent again.
	SendOnce bool
	// Timeout of the whole request. Optional, DefaultTimeout.
	Timeout time.Duration
}

func (r Request) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Timeout == 0 {
		r.Timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, r.Timeout)
}

func (r Request) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("request %s %s: %w", r.Protocol, r.Target, err)
}

// Client sends requests. The zero value works in the caller's own namespace. It is safe for concurrent use and must not
// be copied. Close it when SCTP was used.
type Client struct {
	Enter Enter // optional
	MTU   int   // of the path in bytes, for SCTP; optional, 1500

	mu    sync.Mutex
	stack *rawsctp.Stack
}

// Close frees the SCTP stack, cutting associations that are still open.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stack == nil {
		return nil
	}
	err := c.stack.Close()
	c.stack = nil
	return err
}

// sctpStack opens the one raw socket that all SCTP sessions of the client share.
func (c *Client) sctpStack() (*rawsctp.Stack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stack == nil {
		stack, err := rawsctp.Open(rawsctp.Config{MTU: c.MTU, Enter: c.Enter})
		if err != nil {
			return nil, err
		}
		c.stack = stack
	}
	return c.stack, nil
}

// SCTPStats returns what the client's SCTP stack counted.
func (c *Client) SCTPStats() rawsctp.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stack == nil {
		return rawsctp.Stats{}
	}
	return c.stack.Stats()
}

// Do sends one request over a connection, association or socket of its own and closes that gracefully.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := r.within(ctx)
	defer cancel()
	if r.Protocol == HTTP {
		a, err := c.requestHTTP(ctx, r)
		return a, r.wrap(err)
	}
	start := time.Now()
	s, err := c.open(ctx, r)
	if err != nil {
		return Answer{}, r.wrap(err)
	}
	a, err := s.ask(ctx)
	a.RTT = time.Since(start)
	return a, r.wrap(errors.Join(err, s.transport.close(ctx)))
}

// transport is what a Session needs of a protocol.
type transport interface {
	local() netip.AddrPort
	// exchange sends the payload, checks its echo and returns the server's greeting.
	exchange(ctx context.Context, payload []byte) (greeting string, err error)
	close(ctx context.Context) error
}

// Session is a TCP connection, an SCTP association or a UDP socket that stays open for several requests: to see whether
// an established flow lives on. One request at a time.
type Session struct {
	transport transport
	request   Request
	id        string
	sequence  int
}

// Open opens a session within the request's timeout; the caller closes it.
func (c *Client) Open(ctx context.Context, r Request) (*Session, error) {
	ctx, cancel := r.within(ctx)
	defer cancel()
	s, err := c.open(ctx, r)
	return s, r.wrap(err)
}

func (c *Client) open(ctx context.Context, r Request) (*Session, error) {
	open, ok := map[Protocol]func(context.Context, Request) (transport, error){
		TCP: c.openTCP, UDP: c.openUDP, SCTP: c.openSCTP,
	}[r.Protocol]
	if !ok {
		return nil, fmt.Errorf("protocol %q has no sessions; use tcp, udp or sctp", r.Protocol)
	}
	t, err := open(ctx, r)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Session{transport: t, request: r, id: hex.EncodeToString(id[:])}, nil
}

// Ask sends the session's next payload and waits for its echo, within the request's timeout.
func (s *Session) Ask(ctx context.Context) (Answer, error) {
	ctx, cancel := s.request.within(ctx)
	defer cancel()
	a, err := s.ask(ctx)
	return a, s.request.wrap(err)
}

func (s *Session) ask(ctx context.Context) (Answer, error) {
	start := time.Now()
	a := Answer{Local: s.transport.local(), Remote: s.request.Target}
	greeting, err := s.transport.exchange(ctx, s.payload())
	a.RTT = time.Since(start)
	if err != nil {
		return a, err
	}
	return a, a.readGreeting(greeting)
}

// payload is the session's identity and a sequence number, so that no answer can be taken for another's, filled up to
// the request's size.
func (s *Session) payload() []byte {
	s.sequence++
	b := fmt.Appendf(nil, "weir %s %d ", s.id, s.sequence)
	for len(b) < s.request.Size {
		b = append(b, byte('a'+len(b)%26))
	}
	return b
}

// Close ends the session gracefully within the request's timeout.
func (s *Session) Close(ctx context.Context) error {
	ctx, cancel := s.request.within(ctx)
	defer cancel()
	return s.request.wrap(s.transport.close(ctx))
}

// bound makes ctx's end interrupt reads and writes on conn, until the returned function is called.
func bound(ctx context.Context, conn net.Conn) func() {
	_ = conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}
