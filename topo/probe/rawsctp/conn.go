package rawsctp

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5/deadline"

	"github.com/weir-lb/weir/topo/probe/packet"
)

// pionPort is the port that pion/sctp writes into every packet, both ways.
const pionPort = 5000

// inboundPackets is how many packets may wait for an association's reader.
const inboundPackets = 1024

// conn is the net.Conn under one association: pion's packets with the true ports on one side, raw IPv4 on the other.
type conn struct {
	stack   *Stack
	key     fourTuple
	peerTag uint32 // of the INIT that made it; none of a client's own
	inbound chan []byte
	read    *deadline.Deadline

	once   sync.Once
	closed chan struct{}

	aborted  atomic.Bool
	lastSend atomic.Pointer[error]
}

var _ net.Conn = (*conn)(nil)

func newConn(s *Stack, key fourTuple) *conn {
	return &conn{
		stack: s, key: key, inbound: make(chan []byte, inboundPackets), read: deadline.New(), closed: make(chan struct{}),
	}
}

// push gives the conn a packet that it then owns; false when its reader is too slow.
func (c *conn) push(b []byte) bool {
	if first, ok := packet.FirstChunk(b); ok && first == packet.ChunkAbort {
		c.aborted.Store(true)
	}
	select {
	case c.inbound <- b:
		return true
	default:
		return false
	}
}

// Read returns one packet with the ports that pion expects. At the end it returns io.EOF, which pion hands on to the
// streams, so that a graceful close reads as one.
func (c *conn) Read(buf []byte) (int, error) {
	select {
	case b := <-c.inbound:
		setPorts(b, pionPort, pionPort)
		return copy(buf, b), nil
	case <-c.closed:
		return 0, io.EOF
	case <-c.read.Done():
		return 0, os.ErrDeadlineExceeded
	}
}

// Write sends one packet with this association's ports. That the kernel refuses to send (no route for a moment, a full
// queue) is a loss like any other in the network: pion would end the association on an error, SCTP retransmits.
func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	out := append([]byte(nil), b...)
	packet.AskForSACK(out) // else pion's peer says nothing for 200 ms, and a close waits for it
	setPorts(out, c.key.local.Port(), c.key.remote.Port())
	if err := c.stack.socket.send(c.key.local.Addr(), c.key.remote.Addr(), out); err != nil {
		c.stack.sendFailed.Add(1)
		c.lastSend.Store(&err)
	}
	return len(b), nil
}

// setPorts writes both ports and the checksum that belongs to them.
func setPorts(sctp []byte, src, dst uint16) {
	binary.BigEndian.PutUint16(sctp, src)
	binary.BigEndian.PutUint16(sctp[2:], dst)
	packet.PutCRC32c(sctp)
}

// Close frees the four-tuple.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.read.Set(time.Time{})
		c.stack.forget(c)
	})
	return nil
}

// sendError is the last error of the kernel on sending, nil when all went well.
func (c *conn) sendError() error {
	if err := c.lastSend.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return net.UDPAddrFromAddrPort(c.key.local) }
func (c *conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.key.remote) }

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.Set(t)
	return nil
}

// SetWriteDeadline has no effect: sending a datagram does not wait for anything.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
