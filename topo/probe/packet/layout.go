package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of frames that cannot be read.
var (
	ErrNotIPv4   = errors.New("not an IPv4 frame")
	ErrTruncated = errors.New("truncated frame")
)

// Protocol is an IP protocol number.
type Protocol uint8

// The protocols that this package knows.
const (
	ICMP Protocol = 1
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns the name as it stands in a Service, or the number.
func (p Protocol) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("proto-%d", uint8(p))
}

const (
	etherTypeIPv4 = 0x0800
	etherTypeVLAN = 0x8100
	etherTypeQinQ = 0x88a8
	ethernetLen   = 14
)

// layout names the parts of a frame; the slices alias it.
type layout struct {
	eth      []byte // Ethernet header with its VLAN tags
	ip       []byte // IPv4 packet, cut to its total length: no Ethernet padding
	ihl      int    // IPv4 header length, bytes
	l4       []byte // IPv4 payload
	protocol Protocol
}

// locate finds the IPv4 packet in a frame and checks every length that is needed to read it.
func locate(frame []byte) (*layout, error) {
	if len(frame) < ethernetLen {
		return nil, fmt.Errorf("%w: %d bytes are no Ethernet header", ErrTruncated, len(frame))
	}
	at := 12
	etherType := binary.BigEndian.Uint16(frame[at:])
	for etherType == etherTypeVLAN || etherType == etherTypeQinQ {
		at += 4
		if len(frame) < at+2 {
			return nil, fmt.Errorf("%w: VLAN tag cut at byte %d", ErrTruncated, len(frame))
		}
		etherType = binary.BigEndian.Uint16(frame[at:])
	}
	at += 2
	if etherType != etherTypeIPv4 {
		return nil, fmt.Errorf("%w: ether type %#04x", ErrNotIPv4, etherType)
	}
	return locateIP(frame[:at], frame[at:])
}

func locateIP(eth, ip []byte) (*layout, error) {
	if len(ip) < 20 {
		return nil, fmt.Errorf("%w: %d bytes of IPv4 header", ErrTruncated, len(ip))
	}
	if ip[0]>>4 != 4 {
		return nil, fmt.Errorf("%w: version %d", ErrNotIPv4, ip[0]>>4)
	}
	ihl, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ihl < 20 || total < ihl {
		return nil, fmt.Errorf("%w: header length %d, total length %d", ErrTruncated, ihl, total)
	}
	if len(ip) < total {
		return nil, fmt.Errorf("%w: %d of %d bytes of the IPv4 packet", ErrTruncated, len(ip), total)
	}
	ip = ip[:total]
	return &layout{eth: eth, ip: ip, ihl: ihl, l4: ip[ihl:], protocol: Protocol(ip[9])}, nil
}

// fragment says whether the packet is a part of a larger one.
func (l *layout) fragment() bool { return binary.BigEndian.Uint16(l.ip[6:])&0x3fff != 0 }

// offset is where this fragment's payload stands in the whole, in bytes.
func (l *layout) offset() int { return int(binary.BigEndian.Uint16(l.ip[6:])&0x1fff) * 8 }

// l4Header returns the length of the L4 header in bytes, 0 when it is not complete.
func (l *layout) l4Header() int {
	if l.offset() != 0 {
		return 0
	}
	n := map[Protocol]int{ICMP: 8, TCP: 20, UDP: 8, SCTP: 12}[l.protocol]
	if len(l.l4) < n {
		return 0
	}
	if l.protocol == TCP {
		if n = int(l.l4[12]>>4) * 4; n < 20 || n > len(l.l4) {
			return 0
		}
	}
	return n
}
