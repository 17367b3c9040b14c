package nat

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe/packet"
)

var _ = Describe("A crafted packet", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			var wires onelb.Wires
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.Up(ctx, harness.Options{Hook: hook})
				lab.Silence(ctx)
				var services []v1.Service
				for _, m := range onelb.Modes {
					for _, p := range onelb.Protocols {
						services = append(services, onelb.Service(m, p, onelb.SilentBackend))
					}
				}
				lab.Program(ctx, "lb", services...)
				wires = lab.Wire()
			})
			port := uint16(20000) // each flow has one of its own
			for _, mode := range onelb.Modes {
				for _, protocol := range onelb.Protocols {
					way := onelb.WayOf(mode, protocol, netip.AddrPortFrom(onelb.SilentClient, port), onelb.SilentBackend)
					port++
					It(fmt.Sprintf("arrives with exact bytes: %s, %s", mode, protocol), func(ctx SpecContext) {
						for _, l := range conversations[protocol] {
							pass(ctx, wires, way, l)
						}
					})
				}
			}
			It("control: without the service it does not arrive", func(ctx SpecContext) {
				lab.Program(ctx, "lb")
				way := onelb.WayOf(v1.ModeFullNAT, v1.UDP, netip.AddrPortFrom(onelb.SilentClient, port), onelb.SilentBackend)
				frame, err := conversations[v1.UDP][0].craft(wires.Header(way, false))
				Expect(err).NotTo(HaveOccurred())
				_, err = wires.Try(ctx, 300*time.Millisecond, frame, false)
				Expect(err).To(MatchError(context.DeadlineExceeded))
			})
		})
	}
})

// pass sends one packet of the conversation and looks at it at the other end.
func pass(ctx context.Context, w onelb.Wires, f onelb.Way, l line) {
	GinkgoHelper()
	harness.Step(l.says, func() {
		frame, err := l.craft(w.Header(f, l.reply))
		Expect(err).NotTo(HaveOccurred())
		translation := f.Forward()
		if l.reply {
			translation = f.Reply()
		}
		want, err := packet.Translate(frame, translation)
		Expect(err).NotTo(HaveOccurred())
		Expect(w.Pass(ctx, frame, l.reply)).To(harness.BeFrame(want))
	})
}

// line is one packet of a conversation.
type line struct {
	says  string
	reply bool
	craft func(packet.Header) ([]byte, error)
}

// conversations exercise what an update of a checksum can get wrong: odd
// lengths, options, sums near zero, none at all, large chunks.
var conversations = map[v1.Protocol][]line{
	v1.TCP: {
		{"a SYN with options arrives", false, tcp(layers.TCP{SYN: true, Seq: 1000, Window: 64240, Options: []layers.TCPOption{
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}},
			{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
		}}, 0)},
		{"the SYN ACK comes back", true, tcp(layers.TCP{SYN: true, ACK: true, Seq: 5000, Ack: 1001, Window: 65160}, 0)},
		{"an ACK arrives", false, tcp(layers.TCP{ACK: true, Seq: 1001, Ack: 5001, Window: 502}, 0)},
		{"one byte arrives", false, tcp(layers.TCP{ACK: true, PSH: true, Seq: 1001, Ack: 5001, Window: 502}, 1)},
		{"a full segment of odd length comes back", true, tcp(layers.TCP{ACK: true, Seq: 5001, Ack: 1002, Window: 509}, 1459)},
		{"urgent data arrives", false, tcp(layers.TCP{ACK: true, URG: true, Urgent: 3, Seq: 1002, Ack: 6460, Window: 1}, 7)},
		{"a packet with IP options arrives", false, options(tcp(layers.TCP{ACK: true, Seq: 1009, Ack: 6460, Window: 502}, 11))},
		{"at TTL 2, marked and not to be cut, it arrives", false, marked(tcp(layers.TCP{ACK: true, Seq: 1020, Ack: 6460, Window: 502}, 20))},
		{"a FIN comes back", true, tcp(layers.TCP{FIN: true, ACK: true, Seq: 6460, Ack: 1040, Window: 509}, 0)},
	},
	v1.UDP: {
		{"a datagram arrives", false, udp(100)},
		{"its answer of odd length comes back", true, udp(1471)},
		{"an empty datagram arrives", false, udp(0)},
		{"one byte comes back", true, udp(1)},
		{"a datagram without checksum arrives without", false, noChecksum(udp(33))},
		{"a datagram without checksum comes back without", true, noChecksum(udp(34))},
		{"a datagram with IP options arrives", false, options(udp(35))},
		{"at TTL 2, marked and not to be cut, it arrives", false, marked(udp(36))},
	},
	v1.SCTP: {
		{"INIT arrives", false, sctp(0, packet.Init(packet.Handshake{Tag: 7, TSN: 1, Outbound: 10, Inbound: 2048}))},
		{"INIT ACK with a cookie comes back", true, sctp(7, packet.InitAck(packet.Handshake{Tag: 9, TSN: 100}, packet.CookieParam(bytes(321))))},
		{"COOKIE ECHO with DATA arrives", false, sctp(9, packet.Chunk{Type: packet.ChunkCookieEcho, Value: bytes(321)}, packet.Data(1, 0, 0, bytes(13)))},
		{"COOKIE ACK with SACK comes back", true, sctp(7, packet.Chunk{Type: packet.ChunkCookieAck}, packet.Chunk{Type: packet.ChunkSack, Value: bytes(12)})},
		{"one byte of DATA arrives", false, sctp(9, packet.Data(2, 0, 1, bytes(1)))},
		{"a full packet of DATA comes back", true, sctp(7, packet.Data(100, 0, 0, bytes(1452)))},
		{"three chunks arrive", false, sctp(9, packet.Data(3, 0, 2, bytes(50)), packet.Data(4, 1, 0, bytes(51)), packet.Data(5, 1, 1, bytes(53)))},
		{"a packet with IP options arrives", false, options(sctp(9, packet.Data(6, 0, 3, bytes(20))))},
		{"at TTL 2, marked and not to be cut, it arrives", false, marked(sctp(9, packet.Data(7, 0, 4, bytes(20))))},
		{"SHUTDOWN comes back", true, sctp(7, packet.Chunk{Type: packet.ChunkShutdown, Value: bytes(4)})},
	},
}

type craft = func(packet.Header) ([]byte, error)

func tcp(t layers.TCP, payload int) craft {
	return func(h packet.Header) ([]byte, error) { return packet.TCPFrame(h, t, bytes(payload)) }
}

func udp(payload int) craft {
	return func(h packet.Header) ([]byte, error) { return packet.UDPFrame(h, bytes(payload)) }
}

func sctp(tag uint32, chunks ...packet.Chunk) craft {
	return func(h packet.Header) ([]byte, error) { return packet.SCTPFrame(h, tag, chunks...) }
}

// options puts two no-operations, a router alert and padding into the header.
func options(c craft) craft {
	return func(h packet.Header) ([]byte, error) {
		h.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		return c(h)
	}
}

func marked(c craft) craft {
	return func(h packet.Header) ([]byte, error) {
		h.TTL, h.TOS, h.ID, h.DF = 2, 0xb9, 0xbeef, true
		return c(h)
	}
}

// noChecksum takes the UDP checksum off, as RFC 768 allows.
func noChecksum(c craft) craft {
	return func(h packet.Header) ([]byte, error) {
		frame, err := c(h)
		if err == nil {
			frame[14+20+6], frame[14+20+7] = 0, 0
		}
		return frame, err
	}
}

// bytes is a payload of n different bytes.
func bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + n)
	}
	return b
}
