package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Header is what the crafted frames share. Zero values: MACs of zeros, TTL 64.
type Header struct {
	SrcMAC, DstMAC net.HardwareAddr
	Src, Dst       netip.AddrPort // IPv4
	TTL, TOS       uint8
	ID             uint16
	DF             bool
	Options        []layers.IPv4Option
}

func (h Header) ipv4(p Protocol) *layers.IPv4 {
	ip := &layers.IPv4{
		Version: 4, TTL: h.TTL, TOS: h.TOS, Id: h.ID, Options: h.Options, Protocol: layers.IPProtocol(p),
		SrcIP: h.Src.Addr().AsSlice(), DstIP: h.Dst.Addr().AsSlice(),
	}
	if ip.TTL == 0 {
		ip.TTL = 64
	}
	if h.DF {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

// TCPFrame crafts a frame with right checksums from the flags, numbers and options of t; ports come from h.
func TCPFrame(h Header, t layers.TCP, payload []byte) ([]byte, error) {
	t.SrcPort, t.DstPort = layers.TCPPort(h.Src.Port()), layers.TCPPort(h.Dst.Port())
	ip := h.ipv4(TCP)
	if err := t.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("craft TCP frame: %w", err)
	}
	return h.frame(ip, &t, gopacket.Payload(payload))
}

// UDPFrame crafts a frame with right checksums.
func UDPFrame(h Header, payload []byte) ([]byte, error) {
	u := layers.UDP{SrcPort: layers.UDPPort(h.Src.Port()), DstPort: layers.UDPPort(h.Dst.Port())}
	ip := h.ipv4(UDP)
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("craft UDP frame: %w", err)
	}
	return h.frame(ip, &u, gopacket.Payload(payload))
}

// SCTPFrame crafts a frame of the chunks with right checksums; tag is the verification tag (0 for INIT).
func SCTPFrame(h Header, tag uint32, chunks ...Chunk) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, h.Src.Port())
	b = binary.BigEndian.AppendUint16(b, h.Dst.Port())
	b = binary.BigEndian.AppendUint32(b, tag)
	b = append(b, 0, 0, 0, 0)
	for _, c := range chunks {
		b = appendChunk(b, c)
	}
	PutCRC32c(b)
	return h.frame(h.ipv4(SCTP), gopacket.Payload(b))
}

// frame puts the layers behind an Ethernet header. The header is laid out here because gopacket's pads to 60 bytes,
// which no virtual device does.
func (h Header) frame(ip *layers.IPv4, above ...gopacket.SerializableLayer) ([]byte, error) {
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{ip}, above...)...); err != nil {
		return nil, fmt.Errorf("craft frame to %s: %w", h.Dst, err)
	}
	if n := len(buf.Bytes()); n > 0xffff {
		return nil, fmt.Errorf("craft frame to %s: %d bytes do not fit an IPv4 packet", h.Dst, n)
	}
	frame := make([]byte, ethernetLen, ethernetLen+len(buf.Bytes()))
	copy(frame, h.DstMAC)
	copy(frame[6:], h.SrcMAC)
	binary.BigEndian.PutUint16(frame[12:], etherTypeIPv4)
	return append(frame, buf.Bytes()...), nil
}

// Field names a checksum field.
type Field int

// The checksum fields that Corrupt damages.
const (
	IPChecksum Field = iota
	L4Checksum
)

// Corrupt returns a copy of the frame with one bit of a checksum field flipped.
func Corrupt(frame []byte, f Field) ([]byte, error) {
	bad := append([]byte(nil), frame...)
	l, err := locate(bad)
	if err != nil {
		return nil, fmt.Errorf("corrupt frame: %w", err)
	}
	if f == IPChecksum {
		l.ip[10] ^= 0x10
		return bad, nil
	}
	at, known := checksumAt[l.protocol]
	if !known || len(l.l4) < at.end {
		return nil, fmt.Errorf("corrupt frame: %s has no checksum field here", l.protocol)
	}
	l.l4[at.start] ^= 0x10
	return bad, nil
}

// Fragments cuts a frame into IPv4 fragments of at most mtu bytes each (header included), in order.
func Fragments(frame []byte, mtu int) ([][]byte, error) {
	l, err := locate(frame)
	if err != nil {
		return nil, fmt.Errorf("fragment frame: %w", err)
	}
	step := (mtu - l.ihl) &^ 7
	if step <= 0 {
		return nil, fmt.Errorf("fragment frame: mtu %d leaves no room behind a header of %d bytes", mtu, l.ihl)
	}
	var out [][]byte
	for at := 0; at < len(l.l4); at += step {
		end := min(at+step, len(l.l4))
		part := append([]byte(nil), l.eth...)
		part = append(part, l.ip[:l.ihl]...)
		part = append(part, l.l4[at:end]...)
		ip := part[len(l.eth):]
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		offset := uint16(at / 8)
		if end < len(l.l4) {
			offset |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[6:], offset)
		f, err := locate(part)
		if err != nil {
			return nil, fmt.Errorf("fragment frame: %w", err)
		}
		binary.BigEndian.PutUint16(ip[10:], f.ipWants())
		out = append(out, part)
	}
	return out, nil
}
