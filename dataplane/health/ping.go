package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// ICMP echo (RFC 792): type, code, checksum, identifier, sequence number, then
// what the answer brings back.
const (
	icmpHeader    = 8
	icmpEcho      = 8
	icmpEchoReply = 0
)

// echo is one question.
type echo struct{ packet []byte }

// newEcho returns one that nobody else asks, and nobody can guess the answer of.
func newEcho() echo {
	p := make([]byte, icmpHeader, icmpHeader+16)
	p[0] = icmpEcho
	binary.BigEndian.PutUint32(p[4:], rand.Uint32())
	p = binary.BigEndian.AppendUint64(p, rand.Uint64())
	p = binary.BigEndian.AppendUint64(p, rand.Uint64())
	binary.BigEndian.PutUint16(p[2:], internetChecksum(p))
	return echo{p}
}

func (e echo) read(packet []byte) (bool, error) {
	answered := len(packet) >= len(e.packet) && packet[0] == icmpEchoReply && packet[1] == 0 &&
		internetChecksum(packet) == 0 && bytes.Equal(packet[4:len(e.packet)], e.packet[4:])
	return answered, nil
}

// quotedBy compares identifier and sequence number too.
func (e echo) quotedBy(p []byte) bool {
	return len(p) >= icmpHeader && bytes.Equal(p[:icmpHeader], e.packet[:icmpHeader])
}

// internetChecksum is that of RFC 1071 over p; over what has one already, zero.
func internetChecksum(p []byte) uint16 {
	var sum uint32
	for ; len(p) >= 2; p = p[2:] {
		sum += uint32(binary.BigEndian.Uint16(p))
	}
	if len(p) == 1 {
		sum += uint32(p[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ping asks the host, whatever listens there. A raw socket does so with
// CAP_NET_RAW alone; the kernel's ping socket depends on ping_group_range,
// which most distributions leave empty.
func (n *Network) ping(ctx context.Context, t Target) (time.Duration, error) {
	s, end, err := dialRaw(ctx, unix.IPPROTO_ICMP, t.Address.Addr())
	if err != nil {
		return 0, unreachable(ctx, "send echo", err)
	}
	defer end()
	e := newEcho()
	latency, err := s.ask(e.packet, e)
	if err != nil {
		return 0, unreachable(ctx, "send echo", err)
	}
	return latency, nil
}
