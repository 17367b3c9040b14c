package packettest

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// answer returns the frame by which the dataplane answers a row's packet.
type answer func(*row) []byte

// ICMP types and codes of errors.
const (
	unreachable, timeExceeded, parameterProblem = 3, 11, 12
	portUnreachable, fragmentationNeeded        = 3, 4
)

// reset is the RST that closes what a SYN wanted to open (RFC 9293, 3.10.7.1).
func reset(r *row) []byte {
	in := decode(r.frame())
	syn := in.tcp
	l := &layers.TCP{SrcPort: syn.DstPort, DstPort: syn.SrcPort, RST: true, ACK: true,
		Ack: syn.Seq + 1 + uint32(in.ip.Length) - uint32(in.ip.IHL)*4 - uint32(syn.DataOffset)*4}
	ip := in.back(layers.IPProtocolTCP)
	_ = l.SetNetworkLayerForChecksum(ip)
	return in.serialize(ip, l)
}

// abort is the ABORT that answers an INIT, with the tag that INIT has set (RFC
// 9260, 8.4): the T bit is 0.
func abort(r *row) []byte {
	in := decode(r.frame())
	init := in.sctp
	l := &layers.SCTP{SrcPort: init.DstPort, DstPort: init.SrcPort,
		VerificationTag: binary.BigEndian.Uint32(init.Payload[4:])}
	return in.serialize(in.back(layers.IPProtocolSCTP), l, gopacket.Payload{chunkAbort, 0, 0, 4})
}

// complaint is an ICMP error from a host about the row's packet, with its IP header
// and 8 bytes of what follows.
func complaint(from string, kind, code uint8, mtu uint16) answer {
	return func(r *row) []byte {
		frame := r.frame()
		in := decode(frame)
		ip := in.back(layers.IPProtocolICMPv4)
		ip.TOS, ip.SrcIP = 0xc0, addr(from).AsSlice()
		l := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Seq: mtu}
		return in.serialize(ip, l, gopacket.Payload(frame[14:14+int(in.ip.IHL)*4+8]))
	}
}

// arrived is a frame taken apart. A field is nil where it has no such header.
type arrived struct {
	eth  *layers.Ethernet
	ip   *layers.IPv4
	tcp  *layers.TCP
	sctp *layers.SCTP
}

func decode(frame []byte) arrived {
	var a arrived
	for _, l := range gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			a.eth = l
		case *layers.IPv4:
			a.ip = l
		case *layers.TCP:
			a.tcp = l
		case *layers.SCTP:
			a.sctp = l
		}
	}
	return a
}

// back is an IP header to where a came from, as this node writes it.
func (a arrived) back(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: protocol,
		SrcIP: a.ip.DstIP, DstIP: a.ip.SrcIP}
}

// serialize makes a frame to where a came from, without padding.
func (a arrived) serialize(ip *layers.IPv4, rest ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{SrcMAC: a.eth.DstMAC, DstMAC: a.eth.SrcMAC, EthernetType: layers.EthernetTypeIPv4}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, append([]gopacket.SerializableLayer{eth, ip}, rest...)...); err != nil {
		panic("serialize answer: " + err.Error())
	}
	return buffer.Bytes()[:14+ip.Length]
}

// icmpError describes an ICMP error from a host about a packet: quoted bytes of it
// follow its IP header, all for 0. It is addressed to the packet's source.
func icmpError(from string, kind, code uint8, mtu uint16, about pkt, quoted int) pkt {
	about = about.withMACs(macOf("client"), macOf("client"))
	quote := about.bytes()[14:]
	quote = quote[:binary.BigEndian.Uint16(quote[2:])]
	if quoted > 0 {
		quote = quote[:int(quote[0]&15)*4+quoted]
	}
	return pkt{src: netip.AddrPortFrom(addr(from), 0), dst: netip.AddrPortFrom(about.src.Addr(), 0), proto: icmp, ttl: 64,
		icmpType: kind, icmpCode: code, icmpRest: uint32(mtu), payload: quote}
}
