package testrun

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/gopacket/layers"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// stream is one kind of packet, of any number of flows.
type stream struct {
	name    string
	service netip.AddrPort
	// first opens a flow of the client, answer is what the backend says to it,
	// data is the packet that is measured, of that many bytes with Ethernet header.
	first, answer func(h packet.Header) ([]byte, error)
	data          func(h packet.Header, length int) ([]byte, error)
}

// The services: backends listen at another port, but for sctpSame's.
var (
	serviceTCP      = netip.AddrPortFrom(lab.VIP, 80)
	serviceUDP      = netip.AddrPortFrom(lab.VIP, 5000)
	serviceSCTP     = netip.AddrPortFrom(lab.VIP, 9999)
	serviceSCTPSame = netip.AddrPortFrom(lab.VIP, 9998)
)

var streams = map[string]stream{
	"tcp": {
		name: "tcp", service: serviceTCP,
		first: func(h packet.Header) ([]byte, error) { return packet.TCPFrame(h, layers.TCP{SYN: true}, nil) },
		answer: func(h packet.Header) ([]byte, error) {
			return packet.TCPFrame(h, layers.TCP{SYN: true, ACK: true}, nil)
		},
		data: func(h packet.Header, n int) ([]byte, error) {
			return packet.TCPFrame(h, layers.TCP{ACK: true}, make([]byte, n-14-20-20))
		},
	},
	"udp": {
		name: "udp", service: serviceUDP, first: datagram, answer: datagram,
		data: func(h packet.Header, n int) ([]byte, error) { return packet.UDPFrame(h, make([]byte, n-14-20-8)) },
	},
	"sctp":      sctp("sctp", serviceSCTP),
	"sctp-same": sctp("sctp-same", serviceSCTPSame),
}

func datagram(h packet.Header) ([]byte, error) { return packet.UDPFrame(h, []byte("0123")) }

func sctp(name string, service netip.AddrPort) stream {
	shake := packet.Handshake{Tag: 1}
	return stream{
		name: name, service: service,
		first: func(h packet.Header) ([]byte, error) { return packet.SCTPFrame(h, 0, packet.Init(shake)) },
		answer: func(h packet.Header) ([]byte, error) { // the one that establishes
			return packet.SCTPFrame(h, 1, packet.Chunk{Type: packet.ChunkCookieAck})
		},
		// The shortest packet of an association is a SACK, as Ethernet pads it.
		data: func(h packet.Header, n int) ([]byte, error) {
			const headers = 14 + 20 + 12
			if n < headers+20 {
				f, err := packet.SCTPFrame(h, 1, packet.Chunk{Type: packet.ChunkSack, Value: make([]byte, 12)})
				return append(f, make([]byte, n-len(f))...), err
			}
			return packet.SCTPFrame(h, 1, packet.Data(1, 0, 0, make([]byte, (n-headers-16)&^3)))
		},
	}
}

// client is the address and port of the n-th client: no two have the same, and a
// port is used again only after 60 000 of them.
func client(n int) netip.AddrPort {
	b := lab.Clients.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n%(1<<17)))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(1024+n%60_000))
}

// ends reads source and destination of a frame as weir has sent it.
func ends(frame []byte) (src, dst netip.AddrPort, err error) {
	p, err := packet.Parse(frame)
	if err != nil {
		return src, dst, fmt.Errorf("read what weir sent: %w", err)
	}
	return p.Src, p.Dst, packet.Verify(frame)
}
