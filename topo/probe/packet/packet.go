package packet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Packet is what a scenario says about one frame. It is comparable with ==; CmpOptions make it fit go-cmp.
type Packet struct {
	SrcMAC, DstMAC string
	Src, Dst       netip.AddrPort // port 0: ICMP, a later fragment, an unknown protocol
	Protocol       Protocol
	TTL, TOS       uint8
	ID             uint16
	DF, MF         bool
	Offset         int    // of this fragment in the whole, bytes
	Length         int    // IPv4 total length, bytes
	Flags          string // TCP: "SYN ACK"; SCTP: the chunks, "COOKIE ECHO,DATA"; ICMP: "type 3 code 4"
	Seq, Ack       uint32 // TCP
	Tag            uint32 // SCTP verification tag
	Payload        int    // bytes after the L4 header
	PayloadSum     string // the first 8 bytes of the payload's SHA-256, hexadecimal
}

// CmpOptions let go-cmp and Gomega's BeComparableTo compare Packets.
var CmpOptions = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})}

// Diff returns "" when both are equal, else the fields that differ: "-" is want, "+" is got.
func Diff(want, got Packet) string { return cmp.Diff(want, got, CmpOptions) }

// Parse takes an IPv4 frame apart. It does not judge checksums; Verify does.
func Parse(frame []byte) (Packet, error) {
	l, err := locate(frame)
	if err != nil {
		return Packet{}, err
	}
	src, _ := netip.AddrFromSlice(l.ip[12:16])
	dst, _ := netip.AddrFromSlice(l.ip[16:20])
	p := Packet{
		SrcMAC: net.HardwareAddr(l.eth[6:12]).String(), DstMAC: net.HardwareAddr(l.eth[:6]).String(),
		Src: netip.AddrPortFrom(src, 0), Dst: netip.AddrPortFrom(dst, 0), Protocol: l.protocol,
		TTL: l.ip[8], TOS: l.ip[1], ID: binary.BigEndian.Uint16(l.ip[4:]),
		DF: l.ip[6]&0x40 != 0, MF: l.ip[6]&0x20 != 0, Offset: l.offset(), Length: len(l.ip),
	}
	n := l.l4Header()
	p.Payload, p.PayloadSum = len(l.l4)-n, shortSum(l.l4[n:])
	if n > 0 {
		p.readL4(l.l4, n)
	}
	return p, nil
}

func (p *Packet) readL4(l4 []byte, header int) {
	if p.Protocol == ICMP {
		p.Flags = fmt.Sprintf("type %d code %d", l4[0], l4[1])
		return
	}
	p.Src = netip.AddrPortFrom(p.Src.Addr(), binary.BigEndian.Uint16(l4))
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), binary.BigEndian.Uint16(l4[2:]))
	switch p.Protocol {
	case TCP:
		p.Seq, p.Ack, p.Flags = binary.BigEndian.Uint32(l4[4:]), binary.BigEndian.Uint32(l4[8:]), tcpFlags(l4[13])
	case SCTP:
		p.Tag, p.Flags = binary.BigEndian.Uint32(l4[4:]), chunkNames(l4[header:])
	}
}

func tcpFlags(bits byte) string {
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func shortSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// String is one line: "192.168.80.1:40000 -> 123.123.123.1:55002 tcp SYN ttl 64".
func (p Packet) String() string {
	var b strings.Builder
	if p.Src.Port() == 0 && p.Dst.Port() == 0 {
		fmt.Fprintf(&b, "%s -> %s %s", p.Src.Addr(), p.Dst.Addr(), p.Protocol)
	} else {
		fmt.Fprintf(&b, "%s -> %s %s", p.Src, p.Dst, p.Protocol)
	}
	if p.Flags != "" {
		fmt.Fprintf(&b, " %s", p.Flags)
	}
	if p.Payload > 0 && p.Protocol != SCTP {
		fmt.Fprintf(&b, " %d bytes", p.Payload)
	}
	if p.MF || p.Offset > 0 {
		fmt.Fprintf(&b, " fragment at %d", p.Offset)
	}
	fmt.Fprintf(&b, " ttl %d", p.TTL)
	return b.String()
}

// Identity is what no NAT changes in a packet: two frames with equal identities are one packet at two places.
type Identity struct {
	Protocol   Protocol
	Flags      string
	Seq, Ack   uint32
	Tag        uint32
	Offset     int
	Payload    int
	PayloadSum string
}

// Identify returns the identity of a frame. Of INIT and INIT ACK only the fixed fields count (tags and TSN are random),
// because a middlebox may strip their address lists.
func Identify(frame []byte) (Identity, error) {
	p, err := Parse(frame)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Protocol: p.Protocol, Flags: p.Flags, Seq: p.Seq, Ack: p.Ack, Tag: p.Tag,
		Offset: p.Offset, Payload: p.Payload, PayloadSum: p.PayloadSum,
	}
	if p.Flags == "INIT" || p.Flags == "INIT ACK" {
		l, _ := locate(frame)
		body := l.l4[l.l4Header():]
		id.Payload, id.PayloadSum = 0, shortSum(body[4:min(len(body), 20)])
	}
	return id, nil
}
