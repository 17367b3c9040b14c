package rawsctp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weir-lb/weir/topo/probe/packet"
)

// headerLen is the length of the SCTP common header, bytes.
const headerLen = 12

// MTUs in bytes of IPv4 packet. DefaultMTU is Ethernet's; MaxMTU comes from the buffer of 8 192 bytes into which
// pion/sctp reads each packet.
const (
	DefaultMTU = 1500
	MaxMTU     = pionBuffer + ipv4Header
	pionBuffer = 8192
)

// Ephemeral ports are taken from Linux's default range.
const (
	ephemeralFirst = 32768
	ephemeralCount = 60999 - ephemeralFirst + 1
)

// ErrPortTaken is returned for a port or four-tuple that the stack already uses.
var ErrPortTaken = errors.New("SCTP port already in use")

// Config of a Stack. The zero value works.
type Config struct {
	// MTU is the path's, in bytes of IPv4 packet: longer messages are cut into DATA chunks that fit. Optional, 1500; at most MaxMTU.
	MTU int
	// Enter runs a function in the network namespace whose packets the Stack handles. Optional: the caller's own.
	Enter func(func() error) error
}

// Stats counts what the Stack received.
type Stats struct {
	Received    uint64 // packets with a right checksum
	BadChecksum uint64 // dropped: the CRC32c was wrong
	NoOwner     uint64 // dropped: no association and no listener of this Stack
	Overflow    uint64 // dropped: the association did not read fast enough
	TooLong     uint64 // dropped: longer than MaxMTU
	SendFailed  uint64 // the kernel refused to send; taken as a loss in the network
}

// fourTuple names an association.
type fourTuple struct{ local, remote netip.AddrPort }

// Stack is the SCTP endpoint of a network namespace. It is safe for concurrent use. Whoever opened it closes it.
type Stack struct {
	socket *socket
	mtu    int
	enter  func(func() error) error
	done   chan struct{} // closed when the receiver has ended

	received, badChecksum, noOwner, overflow, tooLong, sendFailed atomic.Uint64

	mu        sync.Mutex
	closed    bool
	conns     map[fourTuple]*conn
	listeners map[netip.AddrPort]*Listener
	nextPort  int // offset in the ephemeral range
}

// Open opens the raw socket and starts the receiver, which Close ends.
func Open(c Config) (*Stack, error) {
	s := &Stack{
		mtu: c.MTU, enter: c.Enter, done: make(chan struct{}),
		conns: map[fourTuple]*conn{}, listeners: map[netip.AddrPort]*Listener{},
		// Starting anywhere keeps processes that share a namespace apart.
		nextPort: rand.IntN(ephemeralCount),
	}
	if s.mtu == 0 {
		s.mtu = DefaultMTU
	}
	if s.enter == nil {
		s.enter = func(f func() error) error { return f() }
	}
	if s.mtu > MaxMTU {
		return nil, fmt.Errorf("open SCTP stack: MTU %d is above %d; craft larger packets instead", s.mtu, MaxMTU)
	}
	err := s.enter(func() (err error) {
		s.socket, err = openSocket()
		return err
	})
	if err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// Stats returns the counters since Open.
func (s *Stack) Stats() Stats {
	return Stats{
		Received: s.received.Load(), BadChecksum: s.badChecksum.Load(), NoOwner: s.noOwner.Load(),
		Overflow: s.overflow.Load(), TooLong: s.tooLong.Load(), SendFailed: s.sendFailed.Load(),
	}
}

// Close ends the receiver and the listeners and cuts every association without a word to its peer.
func (s *Stack) Close() error {
	s.mu.Lock()
	s.closed = true
	listeners := slices.Collect(maps.Values(s.listeners))
	s.mu.Unlock()
	err := s.socket.conn.Close()
	<-s.done
	for _, l := range listeners {
		_ = l.Close()
	}
	s.mu.Lock()
	conns := slices.Collect(maps.Values(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	return err
}

// run hands packets out until the socket is closed.
func (s *Stack) run() {
	defer close(s.done)
	buf := make([]byte, maxDatagram)
	for {
		d, err := s.socket.receive(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an error that a raw socket reports belongs to an earlier send
		}
		if binary.LittleEndian.Uint32(d.data[8:]) != packet.CRC32c(d.data) {
			s.badChecksum.Add(1)
			continue
		}
		s.received.Add(1)
		s.deliver(d)
	}
}

func (s *Stack) deliver(d datagram) {
	c, left := s.owner(d)
	if left != nil {
		_ = left.Close()
	}
	if c == nil {
		s.noOwner.Add(1)
		return
	}
	if len(d.data) > pionBuffer {
		s.tooLong.Add(1)
		return
	}
	if !c.push(append([]byte(nil), d.data...)) {
		s.overflow.Add(1)
		return
	}
	if first, ok := packet.FirstChunk(d.data); ok && first == packet.ChunkShutdownComplete {
		s.forget(c) // the peer may use its port again before pion has read this
	}
}

// owner finds the association of a packet; an INIT for a listener makes one. A client that begins by another tag where it had
// one has left that, whatever its state: the caller closes it.
func (s *Stack) owner(d datagram) (c, left *conn) {
	key := fourTuple{local: d.dst, remote: d.src}
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.conns[key]
	tag, begins := packet.InitTag(d.data)
	if !begins || s.closed || c != nil && c.peerTag == tag {
		return c, nil
	}
	l, ok := s.listeners[d.dst]
	if !ok {
		l, ok = s.listeners[netip.AddrPortFrom(netip.IPv4Unspecified(), d.dst.Port())]
	}
	if !ok {
		return c, nil
	}
	left, c = c, newConn(s, key)
	c.peerTag = tag
	s.conns[key] = c
	l.welcome(c)
	return c, left
}

// claim registers a client's four-tuple and picks a port when local has none.
func (s *Stack) claim(local, remote netip.AddrPort) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	tries := 1
	if local.Port() == 0 {
		tries = ephemeralCount
	}
	addr := local.Addr()
	for range tries {
		if tries > 1 {
			local = netip.AddrPortFrom(addr, uint16(ephemeralFirst+s.nextPort))
			s.nextPort = (s.nextPort + 1) % ephemeralCount
		}
		key := fourTuple{local, remote}
		if _, taken := s.conns[key]; !taken {
			c := newConn(s, key)
			s.conns[key] = c
			return c, nil
		}
	}
	return nil, fmt.Errorf("associate %s with %s: %w", local, remote, ErrPortTaken)
}

func (s *Stack) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.key] == c {
		delete(s.conns, c.key)
	}
}
