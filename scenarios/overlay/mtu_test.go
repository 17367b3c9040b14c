package overlay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/packet"
)

const (
	// bulk is how many bytes a transfer moves.
	bulk = 10 << 20
	// udpHeaders are those of IPv4 and UDP.
	udpHeaders = 20 + 8
)

// expectBulk moves bytes and sees that no packet was too long on the way.
func expectBulk(ctx context.Context, l *lab, direction string, move func(*probe.Client, context.Context, probe.Request, int64) (probe.Transfer, error)) {
	GinkgoHelper()
	atWorker := l.Headers("worker1:eth1", func(f capture.Frame) bool {
		p, err := f.Packet()
		return err == nil && (p.MF || p.Offset > 0)
	})
	before := dropped(ctx, l, "mtu_exceeded")
	harness.Step("the bytes go "+direction, func() {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		t, err := move(l.requests, ctx, fullnat.request(v1.TCP), bulk)
		Expect(err).NotTo(HaveOccurred())
		Expect(t.Bytes).To(BeEquivalentTo(bulk))
	})
	harness.Step("within the MTU of the overlay, and whole", func() {
		Expect(dropped(ctx, l, "mtu_exceeded")).To(Equal(before))
		Expect(atWorker.Frames()).To(BeEmpty(), "fragments")
	})
}

func dropped(ctx context.Context, l *lab, reason string) uint64 {
	GinkgoHelper()
	c, err := l.Weir("master1").Counters(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, d := range c.Drops {
		if d.Reason == reason {
			return d.Count
		}
	}
	return 0
}

// longPacket is a first packet of a client, of as many bytes as are wanted.
type longPacket struct {
	name     string
	protocol v1.Protocol
	df       bool
	frame    func(h packet.Header, length int) ([]byte, error)
	// step is by how much lengths of it differ.
	step int
}

var longPackets = []longPacket{
	{"a datagram that must not be cut", v1.UDP, true, longDatagram, 1},
	// weir cuts nothing: who asks for it is told too (docs/architecture.md, Answers).
	{"a datagram that may be cut", v1.UDP, false, longDatagram, 1},
	{"an INIT", v1.SCTP, true, longInit, 4},
}

func longDatagram(h packet.Header, length int) ([]byte, error) {
	return packet.UDPFrame(h, make([]byte, length-udpHeaders))
}

// longInit is filled up by a Padding parameter (RFC 4820, section 4).
func longInit(h packet.Header, length int) ([]byte, error) {
	const padding, headers = 0x8005, 20 + 12 + 20 + 4 // IPv4, SCTP, INIT, the parameter's
	return packet.SCTPFrame(h, 0, packet.Init(packet.Handshake{Tag: 7, TSN: 1},
		packet.Param{Type: padding, Value: make([]byte, length-headers)}))
}

// expectMTU sends each of longPackets twice: so that it just fits into the
// overlay, and one step longer.
func expectMTU(ctx context.Context, l *lab) {
	GinkgoHelper()
	for i, k := range longPackets {
		k.expect(ctx, l, uint16(20000+2*i))
	}
}

// expect sends from a port and the next one.
func (k longPacket) expect(ctx context.Context, l *lab, port uint16) {
	GinkgoHelper()
	send := l.Inject("client:eth1")
	atClient := l.Capture("client:eth1", nil)
	atPod, atWorker := l.Capture("pod1:eth0", nil), l.Capture("worker1:eth1", nil)
	crafted := func(port uint16, length int) []byte {
		frame, err := k.frame(packet.Header{
			SrcMAC: l.MAC("client:eth1"), DstMAC: l.MAC("master1:eth2"),
			Src: netip.AddrPortFrom(client, port), Dst: netip.AddrPortFrom(vip, fullnat.port), DF: k.df,
		}, length)
		Expect(err).NotTo(HaveOccurred())
		Expect(packet.Parse(frame)).To(HaveField("Length", length))
		return frame
	}
	fits := overlayMTU - overlayMTU%k.step
	harness.Step(fmt.Sprintf("%s of %d bytes arrives whole", k.name, fits), func() {
		frame := crafted(port, fits)
		Expect(send.Send(frame)).To(Succeed())
		ctx, cancel := context.WithTimeout(ctx, harness.Patience)
		defer cancel()
		f, err := atPod.Wait(ctx, capture.Where(func(p packet.Packet) bool { return p.Src == netip.AddrPortFrom(vip, port) }))
		Expect(err).NotTo(HaveOccurred())
		Expect(f.Verify()).To(Succeed())
		Expect(f.Packet()).To(And(HaveField("Length", fits), HaveField("DF", k.df), HaveField("MF", false)))
	})
	harness.Step(fmt.Sprintf("of %d bytes more, and its sender is told what fits", k.step), func() {
		before := dropped(ctx, l, "mtu_exceeded")
		Expect(send.Send(crafted(port+1, fits+k.step))).To(Succeed())
		ctx, cancel := context.WithTimeout(ctx, harness.Patience)
		defer cancel()
		f, err := atClient.Wait(ctx, capture.Where(func(p packet.Packet) bool {
			return p.Dst.Addr() == client && p.Flags == "type 3 code 4"
		}))
		Expect(err).NotTo(HaveOccurred(), "fragmentation needed")
		Expect(f.Verify()).To(Succeed())
		// RFC 1191 section 4: the next hop's MTU is in the last 16 bits of the ICMP header.
		Expect(binary.BigEndian.Uint16(f.Data[14+20+6:])).To(BeEquivalentTo(overlayMTU))
		Expect(binary.BigEndian.Uint16(f.Data[14+20+8+20:])).To(Equal(port+1), "the port that it is about")
		Expect(dropped(ctx, l, "mtu_exceeded")).To(Equal(before + 1))
	})
	harness.Step("nothing was cut, and nothing of it came out", func() {
		Expect(cut(atWorker)).To(BeEmpty())
		var inside []capture.Frame
		harness.Soon(ctx, func() []capture.Frame {
			inside, _ = split(atWorker.Frames())
			return harness.Between(inside, netip.AddrPortFrom(vip, port), fullnat.server(k.protocol))
		}).ShouldNot(BeEmpty(), "control")
		Expect(harness.Between(inside, netip.AddrPortFrom(vip, port+1), fullnat.server(k.protocol))).To(BeEmpty())
	})
}
