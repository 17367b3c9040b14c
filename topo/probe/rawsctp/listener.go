package rawsctp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	pion "github.com/pion/sctp"
)

// handshakeTimeout ends associations whose client went away between INIT and COOKIE ECHO.
const handshakeTimeout = 10 * time.Second

// Listener accepts associations on a port. Closing it leaves the accepted ones alone.
type Listener struct {
	stack    *Stack
	local    netip.AddrPort
	accepted chan *Association
	once     sync.Once
	closed   chan struct{}
	greeting sync.WaitGroup     // handshakes under way
	pending  map[*conn]struct{} // their conns; under the stack's lock
}

// Listen accepts associations to local; an unspecified address means every address of the namespace.
func (s *Stack) Listen(local netip.AddrPort) (*Listener, error) {
	if !local.Addr().Is4() || local.Port() == 0 {
		return nil, fmt.Errorf("listen on SCTP %s: want an IPv4 address and a port", local)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.listeners[local]; taken {
		return nil, fmt.Errorf("listen on SCTP %s: %w", local, ErrPortTaken)
	}
	l := &Listener{
		stack: s, local: local, accepted: make(chan *Association), closed: make(chan struct{}), pending: map[*conn]struct{}{},
	}
	s.listeners[local] = l
	return l, nil
}

// Addr is where the listener listens.
func (l *Listener) Addr() netip.AddrPort { return l.local }

// welcome starts the server's side of the handshake on a conn that an INIT has just made. The stack's lock is held.
func (l *Listener) welcome(c *conn) {
	l.pending[c] = struct{}{}
	l.greeting.Go(func() {
		a, err := l.handshake(c)
		if err != nil {
			_ = c.Close()
			return
		}
		select {
		case l.accepted <- a:
		case <-l.closed:
			_ = a.Close()
		}
	})
}

func (l *Listener) handshake(c *conn) (*Association, error) {
	timeout := time.AfterFunc(handshakeTimeout, func() { _ = c.Close() })
	defer timeout.Stop()
	defer func() {
		l.stack.mu.Lock()
		defer l.stack.mu.Unlock()
		delete(l.pending, c)
	}()
	var opts []pion.ServerOption
	for _, o := range l.stack.options(c) {
		opts = append(opts, o)
	}
	assoc, err := pion.ServerWithOptions(opts...)
	if err != nil {
		return nil, err
	}
	// The client opens stream 0 too; both ends use the same one.
	stream, err := assoc.OpenStream(0, pion.PayloadTypeWebRTCBinary)
	if err != nil {
		return nil, errors.Join(err, assoc.Close())
	}
	return &Association{conn: c, pion: assoc, stream: stream}, nil
}

// Accept waits for the next established association. It fails with net.ErrClosed after Close.
func (l *Listener) Accept(ctx context.Context) (*Association, error) {
	select {
	case a := <-l.accepted:
		return a, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close stops accepting, cuts the handshakes under way and waits for them.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		for _, c := range l.remove() {
			_ = c.Close()
		}
	})
	l.greeting.Wait()
	return nil
}

// remove takes the listener from its stack, so that no handshake begins any more, and returns those under way.
func (l *Listener) remove() []*conn {
	l.stack.mu.Lock()
	defer l.stack.mu.Unlock()
	if l.stack.listeners[l.local] == l {
		delete(l.stack.listeners, l.local)
	}
	return slices.Collect(maps.Keys(l.pending))
}
