package interop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-lb/weir/topo/node"
)

// Types of messages (RFC 4271 section 4.1).
const (
	typeOpen         = 1
	typeUpdate       = 2
	typeNotification = 3
	typeKeepalive    = 4
)

const (
	headerLength = 19
	// strangerAS is the AS number of peers that misbehave.
	strangerAS = 65200
	// exchangeWithin bounds one step of a conversation.
	exchangeWithin = 5 * time.Second
)

// peer is a BGP speaker by hand: it opens a session, and then sends whatever
// bytes it is given.
type peer struct{ conn net.Conn }

// dial opens a session from an address of the node.
func dial(ctx context.Context, n *node.Node, from, to netip.Addr) (*peer, error) {
	var p *peer
	err := n.Do(func() error {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "tcp4", netip.AddrPortFrom(to, 179).String())
		p = &peer{conn}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := p.open(from); err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	return p, nil
}

// open exchanges OPEN and KEEPALIVE.
func (p *peer) open(id netip.Addr) error {
	// Capabilities: IPv4 unicast (RFC 4760), AS numbers of four bytes (RFC 6793).
	capabilities := []byte{1, 4, 0, 1, 0, 1, 65, 4}
	capabilities = binary.BigEndian.AppendUint32(capabilities, strangerAS)
	body := []byte{4}                                      // version
	body = binary.BigEndian.AppendUint16(body, strangerAS) // AS
	body = binary.BigEndian.AppendUint16(body, 90)         // hold time in seconds
	body = append(body, id.AsSlice()...)
	body = append(body, byte(len(capabilities)+2), 2, byte(len(capabilities)))
	body = append(body, capabilities...)
	if err := p.send(message(typeOpen, body)); err != nil {
		return err
	}
	for _, want := range []byte{typeOpen, typeKeepalive} {
		typ, body, err := p.receive()
		if err != nil {
			return fmt.Errorf("open session: %w", err)
		}
		if typ != want {
			return fmt.Errorf("open session: a message of type %d (% x) for one of type %d", typ, body, want)
		}
		if err := p.send(message(typeKeepalive, nil)); err != nil {
			return err
		}
	}
	return nil
}

func message(typ byte, body []byte) []byte {
	m := slices.Repeat([]byte{0xff}, 16)
	m = binary.BigEndian.AppendUint16(m, uint16(headerLength+len(body)))
	return append(append(m, typ), body...)
}

func (p *peer) send(b []byte) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(exchangeWithin)); err != nil {
		return err
	}
	_, err := p.conn.Write(b)
	return err
}

// receive returns the type and the body of the next message.
func (p *peer) receive() (byte, []byte, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(exchangeWithin)); err != nil {
		return 0, nil, err
	}
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(p.conn, header); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint16(header[16:])
	if length < headerLength {
		return 0, nil, fmt.Errorf("a length of %d", length)
	}
	body := make([]byte, length-headerLength)
	_, err := io.ReadFull(p.conn, body)
	return header[18], body, err
}

// verdict is what became of a session after a message: "notification CODE",
// "closed", or "kept" when the peer answers with a KEEPALIVE, which comes a
// third of the hold time after the one before.
func (p *peer) verdict() string {
	for {
		typ, body, err := p.receive()
		switch {
		case errors.Is(err, io.EOF) || isReset(err):
			return "closed"
		case err != nil:
			return err.Error()
		case typ == typeNotification && len(body) >= 2:
			return fmt.Sprintf("notification %d", body[0])
		case typ == typeKeepalive:
			return "kept"
		}
	}
}

// ending is the verdict on a session that has ended: what was sent before does not
// count.
func (p *peer) ending() string {
	for {
		if v := p.verdict(); v != "kept" {
			return v
		}
	}
}

// isReset tells whether the connection ended with data unread.
func isReset(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && !op.Timeout()
}
