package packettest

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Protocols as flow keys have them.
const (
	tcp  = uint8(layers.IPProtocolTCP)
	udp  = uint8(layers.IPProtocolUDP)
	sctp = uint8(layers.IPProtocolSCTP)
	icmp = uint8(layers.IPProtocolICMPv4)
)

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// SCTP chunk types.
const (
	chunkData             = 0
	chunkInit             = 1
	chunkInitAck          = 2
	chunkSack             = 3
	chunkAbort            = 6
	chunkShutdown         = 7
	chunkCookieEcho       = 10
	chunkCookieAck        = 11
	chunkShutdownComplete = 14
)

// pkt describes a frame. Methods return changed copies, so a row can derive the
// packet that goes out from the one that comes in.
type pkt struct {
	smac, dmac  net.HardwareAddr
	src, dst    netip.AddrPort
	proto       uint8
	ttl, tos    uint8
	ipOptions   []byte // a multiple of 4 bytes
	tcpOptions  []byte // a multiple of 4 bytes
	flags       int
	chunk       uint8
	vtag        uint32
	parameters  []byte // of an INIT or INIT ACK
	payload     []byte
	fragment    uint16 // flags and offset field of the IP header
	ipError     uint16 // added to the IP checksum
	l4Error     uint32 // added to the L4 checksum, or flipped in the CRC
	noSum       bool   // UDP without checksum
	frameLength int    // zeros are appended up to it
	cutTo       int    // the frame ends there, 0: nowhere
	icmpType    uint8
	icmpCode    uint8
	icmpRest    uint32 // what follows the checksum: id and sequence, or the MTU
	edits       []edit
}

// edit overwrites bytes after checksums have been computed.
type edit struct {
	offset int
	bytes  []byte
}

func tcpPacket(src, dst string, flags int) pkt {
	return pkt{src: ap(src), dst: ap(dst), proto: tcp, ttl: 64, flags: flags}
}

func udpPacket(src, dst string, payload string) pkt {
	return pkt{src: ap(src), dst: ap(dst), proto: udp, ttl: 64, payload: []byte(payload)}
}

func sctpPacket(src, dst string, chunk uint8) pkt {
	p := pkt{src: ap(src), dst: ap(dst), proto: sctp, ttl: 64, chunk: chunk, vtag: 0x01020304}
	if chunk == chunkInit {
		p.vtag = 0
	}
	return p
}

func echoRequest(src, dst string, size int) pkt {
	return pkt{src: ap(src + ":0"), dst: ap(dst + ":0"), proto: icmp, ttl: 64,
		icmpType: layers.ICMPv4TypeEchoRequest, icmpRest: 0xbeef0007, payload: pattern(size)}
}

// pattern returns bytes that differ from their neighbours.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func (p pkt) withPayload(size int) pkt      { p.payload = pattern(size); return p }
func (p pkt) withTTL(ttl uint8) pkt         { p.ttl = ttl; return p }
func (p pkt) withTOS(tos uint8) pkt         { p.tos = tos; return p }
func (p pkt) withVtag(vtag uint32) pkt      { p.vtag = vtag; return p }
func (p pkt) withIPOptions(o ...byte) pkt   { p.ipOptions = o; return p }
func (p pkt) withTCPOptions(o ...byte) pkt  { p.tcpOptions = o; return p }
func (p pkt) withFragment(field uint16) pkt { p.fragment = field; return p }
func (p pkt) withIPError(e uint16) pkt      { p.ipError = e; return p }
func (p pkt) withL4Error(e uint32) pkt      { p.l4Error = e; return p }
func (p pkt) withoutSum() pkt               { p.noSum = true; return p }
func (p pkt) padded(length int) pkt         { p.frameLength = length; return p }
func (p pkt) cut(length int) pkt            { p.cutTo = length; return p }
func (p pkt) withParameters(b ...byte) pkt  { p.parameters = b; return p }
func (p pkt) withMACs(s, d net.HardwareAddr) pkt {
	p.smac, p.dmac = s, d
	return p
}

// fromGroup sets the group bit of the sending station.
func (p pkt) fromGroup() pkt {
	p.smac = append(net.HardwareAddr{p.smac[0] | 1}, p.smac[1:]...)
	return p
}

func (p pkt) with(offset int, bytes ...byte) pkt {
	p.edits = append(append([]edit(nil), p.edits...), edit{offset, bytes})
	return p
}

// nat returns p with other addresses and ports, sent to the neighbour via: its
// MAC, that of the device towards it, TTL one less.
func (p pkt) nat(src, dst, via string) pkt {
	p.src, p.dst = ap(src), ap(dst)
	p.smac, p.dmac = nicTowards(via).mac(), macOf(via)
	p.ttl--
	return p
}

// turned returns the answer to an echo request: MACs and addresses swapped.
func (p pkt) turned() pkt {
	p.src, p.dst = p.dst, p.src
	p.smac, p.dmac = p.dmac, p.smac
	p.ttl = 64
	p.icmpType = layers.ICMPv4TypeEchoReply
	return p
}

// bytes serializes the frame with right lengths and checksums, then applies the
// errors that the row asks for.
func (p pkt) bytes() []byte {
	ip := &layers.IPv4{Version: 4, TTL: p.ttl, TOS: p.tos, Id: 0x1234,
		Protocol: layers.IPProtocol(p.proto), SrcIP: p.src.Addr().AsSlice(), DstIP: p.dst.Addr().AsSlice()}
	ip.Flags = layers.IPv4Flag(p.fragment >> 13)
	ip.FragOffset = p.fragment & 0x1fff
	if len(p.ipOptions) > 0 {
		ip.Options = []layers.IPv4Option{{OptionType: p.ipOptions[0],
			OptionLength: uint8(len(p.ipOptions)), OptionData: p.ipOptions[2:]}}
	}
	eth := &layers.Ethernet{SrcMAC: p.smac, DstMAC: p.dmac, EthernetType: layers.EthernetTypeIPv4}
	stack := append([]gopacket.SerializableLayer{eth, ip}, p.transport(ip)...)

	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, stack...); err != nil {
		panic("serialize packet: " + err.Error())
	}
	// gopacket pads to 60 bytes; rows ask for padding where they want it.
	frame := append([]byte(nil), buffer.Bytes()...)
	if length := 14 + int(binary.BigEndian.Uint16(frame[16:])); length < len(frame) {
		frame = frame[:length]
	}
	return p.spoil(frame)
}

func (p pkt) transport(ip *layers.IPv4) []gopacket.SerializableLayer {
	payload := gopacket.Payload(p.payload)
	switch p.proto {
	case tcp:
		l := &layers.TCP{SrcPort: layers.TCPPort(p.src.Port()), DstPort: layers.TCPPort(p.dst.Port()),
			Seq: 0x11223344, Ack: 0x55667788, Window: 29200, FIN: p.flags&fin != 0, SYN: p.flags&syn != 0,
			RST: p.flags&rst != 0, PSH: p.flags&psh != 0, ACK: p.flags&ack != 0}
		if len(p.tcpOptions) > 0 {
			l.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKind(p.tcpOptions[0]),
				OptionLength: uint8(len(p.tcpOptions)), OptionData: p.tcpOptions[2:]}}
		}
		_ = l.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{l, payload}
	case udp:
		l := &layers.UDP{SrcPort: layers.UDPPort(p.src.Port()), DstPort: layers.UDPPort(p.dst.Port())}
		_ = l.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{l, payload}
	case sctp:
		l := &layers.SCTP{SrcPort: layers.SCTPPort(p.src.Port()), DstPort: layers.SCTPPort(p.dst.Port()),
			VerificationTag: p.vtag}
		return []gopacket.SerializableLayer{l, gopacket.Payload(p.chunkBytes())}
	case icmp:
		l := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(p.icmpType, p.icmpCode),
			Id: uint16(p.icmpRest >> 16), Seq: uint16(p.icmpRest)}
		return []gopacket.SerializableLayer{l, payload}
	}
	return []gopacket.SerializableLayer{payload}
}

// chunkBytes returns the packet's one chunk, padded to 4 bytes.
func (p pkt) chunkBytes() []byte {
	var value []byte
	switch p.chunk {
	case chunkInit, chunkInitAck:
		value = append(make([]byte, 16), p.parameters...)
		copy(value, []byte{0xca, 0xfe, 0xba, 0xbe, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1})
	case chunkData:
		value = append(make([]byte, 12), p.payload...)
	default:
		value = p.payload
	}
	chunk := append([]byte{p.chunk, 3, 0, 0}, value...)
	binary.BigEndian.PutUint16(chunk[2:], uint16(len(chunk)))
	for len(chunk)%4 != 0 {
		chunk = append(chunk, 0)
	}
	return chunk
}

// spoil makes the frame as wrong as the row wants it.
func (p pkt) spoil(frame []byte) []byte {
	l4 := 14 + int(frame[14]&15)*4
	addSum(frame[24:], p.ipError)
	switch p.proto {
	case tcp:
		addSum(frame[l4+16:], uint16(p.l4Error))
	case udp:
		// 0 means that there is no sum, so one that is 0 is sent as 0xffff
		// (RFC 768). gopacket does not know.
		if frame[l4+6] == 0 && frame[l4+7] == 0 {
			frame[l4+6], frame[l4+7] = 0xff, 0xff
		}
		addSum(frame[l4+6:], uint16(p.l4Error))
		if p.noSum {
			binary.BigEndian.PutUint16(frame[l4+6:], 0)
		}
	case sctp:
		crc := binary.LittleEndian.Uint32(frame[l4+8:])
		binary.LittleEndian.PutUint32(frame[l4+8:], crc^p.l4Error)
	case icmp:
		addSum(frame[l4+2:], uint16(p.l4Error))
	}
	for _, e := range p.edits {
		copy(frame[e.offset:], e.bytes)
	}
	for len(frame) < p.frameLength {
		frame = append(frame, 0)
	}
	if p.cutTo > 0 {
		frame = frame[:p.cutTo]
	}
	return frame
}

// addSum adds in one's complement; the result stays in the range of a sum that
// was computed, 0 to 0xfffe.
func addSum(field []byte, add uint16) {
	if add == 0 {
		return
	}
	sum := uint32(binary.BigEndian.Uint16(field)) + uint32(add)
	sum = sum&0xffff + sum>>16
	if sum == 0xffff {
		sum = 0
	}
	binary.BigEndian.PutUint16(field, uint16(sum))
}
