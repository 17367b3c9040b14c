package sctp

import (
	"fmt"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/packet"
	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

var onlySCTP = capture.Where(func(p packet.Packet) bool { return p.Protocol == packet.SCTP })

var modes = []v1.Mode{v1.ModeFullNAT, v1.ModeDefault}

var _ = Describe("SCTP", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.UpPage(ctx, "jumbo.yaml", harness.Options{Hook: hook})
				lab.Silence(ctx)
			})
			It("control: without the service no association comes about", func(ctx SpecContext) {
				r := onelb.Request(v1.ModeFullNAT, v1.SCTP)
				r.Timeout = 500 * time.Millisecond
				_, err := lab.Requests.Do(ctx, r)
				Expect(err).To(HaveOccurred())
			})
			for _, mode := range modes {
				for _, mtu := range []int{rawsctp.DefaultMTU, rawsctp.MaxMTU} {
					It(fmt.Sprintf("carries messages to 60 000 bytes in packets to %d: %s", mtu, mode), func(ctx SpecContext) {
						lab.Program(ctx, "lb", onelb.Service(mode, v1.SCTP, onelb.Server(onelb.Backend1, v1.SCTP)))
						talk(ctx, lab, mode, mtu)
					})
				}
			}
			for i, mode := range modes {
				It(fmt.Sprintf("passes packets to 9 000 bytes with the exact CRC32c: %s", mode), func(ctx SpecContext) {
					lab.Program(ctx, "lb", onelb.Service(mode, v1.SCTP, onelb.SilentBackend))
					client := netip.AddrPortFrom(onelb.SilentClient, uint16(20000+i))
					long := lab.Capture("lb:eth1", func(f capture.Frame) bool { return onlySCTP(f) && f.Length > rawsctp.DefaultMTU })
					exchange(ctx, lab.Wire(), onelb.WayOf(mode, v1.SCTP, client, onelb.SilentBackend))
					Expect(long.Stop()).To(Succeed())
					if hook == "xdp" {
						Expect(long.Frames()).To(BeEmpty(), "native XDP was to take the packets before a capture sees them")
					}
				})
			}
		})
	}
})

// talk sends messages of growing size over one association. The packets on both
// sides are verified and followed.
func talk(ctx SpecContext, lab *onelb.Lab, m v1.Mode, mtu int) {
	GinkgoHelper()
	client := &probe.Client{Enter: lab.Node("client").Do, MTU: mtu}
	DeferCleanup(client.Close)
	atClient, atBackend := lab.Capture("client:eth1", onlySCTP), lab.Capture("backend1:eth1", onlySCTP)
	var way onelb.Way
	for _, size := range []int{1, 1500, 20_000, 60_000} {
		harness.Step(fmt.Sprintf("a message of %d bytes comes back", size), func() {
			r := onelb.Request(m, v1.SCTP)
			r.Size, r.Timeout = size, harness.Patience
			a, err := client.Do(ctx, r)
			Expect(err).NotTo(HaveOccurred())
			way = onelb.WayOf(m, v1.SCTP, a.Local, onelb.Server(onelb.Backend1, v1.SCTP))
			Expect(a.SeenClient).To(Equal(way.Source))
		})
	}
	harness.Step("every packet has a right CRC32c on both sides", func() {
		for _, c := range []*capture.Capture{atClient, atBackend} {
			Expect(c.Stop()).To(Succeed()) // takes what the kernel still holds
			Expect(c.Frames()).To(HaveEach(HaveField("Verify()", Succeed())))
		}
		Expect(longest(atBackend)).To(BeNumerically(">", mtu-64), "the packets were to be long")
	})
	harness.Step("INIT arrives and INIT ACK comes back, translated", func() {
		expectArrival(atClient, atBackend, "INIT", way.Client, way.Frontend, way.Forward())
		expectArrival(atBackend, atClient, "INIT ACK", way.Backend, way.Source, way.Reply())
	})
}

// longest is the length of the longest IPv4 packet.
func longest(c *capture.Capture) int {
	n := 0
	for _, f := range c.Frames() {
		if p, err := f.Packet(); err == nil {
			n = max(n, p.Length)
		}
	}
	return n
}

// expectArrival follows the packet with those chunks from one end to the other.
func expectArrival(from, at *capture.Capture, chunks string, src, dst netip.AddrPort, t packet.Translation) {
	GinkgoHelper()
	want, err := packet.Translate(find(from, chunks, src, dst).Data, t)
	Expect(err).NotTo(HaveOccurred())
	Expect(find(at, chunks, t.Src, t.Dst)).To(harness.BeFrame(want))
}

func find(c *capture.Capture, chunks string, src, dst netip.AddrPort) capture.Frame {
	GinkgoHelper()
	for _, f := range c.Frames() {
		if p, err := f.Packet(); err == nil && p.Flags == chunks && p.Src == src && p.Dst == dst {
			return f
		}
	}
	Fail(fmt.Sprintf("no %s from %s to %s was seen", chunks, src, dst))
	return capture.Frame{}
}

// exchange sets a crafted association up and sends packets of all lengths over
// it, the last of them damaged on the way to weir.
func exchange(ctx SpecContext, wires onelb.Wires, way onelb.Way) {
	GinkgoHelper()
	pass := func(reply bool, tag uint32, chunks ...packet.Chunk) {
		GinkgoHelper()
		frame, err := packet.SCTPFrame(wires.Header(way, reply), tag, chunks...)
		Expect(err).NotTo(HaveOccurred())
		want, err := packet.Translate(frame, translation(way, reply))
		Expect(err).NotTo(HaveOccurred())
		Expect(wires.Pass(ctx, frame, reply)).To(harness.BeFrame(want))
	}
	harness.Step("the association is set up", func() {
		pass(false, 0, packet.Init(packet.Handshake{Tag: 7, TSN: 1}))
		pass(true, 7, packet.InitAck(packet.Handshake{Tag: 9, TSN: 1}, packet.CookieParam(payload(200))))
		pass(false, 9, packet.Chunk{Type: packet.ChunkCookieEcho, Value: payload(200)})
		pass(true, 7, packet.Chunk{Type: packet.ChunkCookieAck})
	})
	tsn := uint32(1)
	for _, length := range []int{1500, 3504, 4096, 8000, 8004, 8192, 8196, 8996, 9000} {
		harness.Step(fmt.Sprintf("packets of %d bytes pass both ways", length), func() {
			pass(false, 9, packet.Data(tsn, 0, uint16(tsn), payload(length-overhead)))
			pass(true, 7, packet.Data(tsn, 0, uint16(tsn), payload(length-overhead)))
			tsn++
		})
	}
	harness.Step("a damaged packet of 9 000 bytes arrives as damaged", func() {
		frame, err := packet.SCTPFrame(wires.Header(way, false), 9, packet.Data(tsn, 0, uint16(tsn), payload(9000-overhead)))
		Expect(err).NotTo(HaveOccurred())
		damaged, err := packet.Corrupt(frame, packet.L4Checksum)
		Expect(err).NotTo(HaveOccurred())
		whole, err := packet.Translate(frame, way.Forward())
		Expect(err).NotTo(HaveOccurred())
		want, err := packet.Corrupt(whole, packet.L4Checksum)
		Expect(err).NotTo(HaveOccurred())
		got := wires.Pass(ctx, damaged, false)
		Expect(got.Verify()).To(MatchError(packet.ErrSCTPChecksum))
		Expect(packet.DiffIP(want, got.Data)).To(BeEmpty())
	})
}

func translation(w onelb.Way, reply bool) packet.Translation {
	if reply {
		return w.Reply()
	}
	return w.Forward()
}

// overhead is what IPv4, SCTP's common header and a DATA chunk's add, bytes.
const overhead = 20 + 12 + 16

// payload is n different bytes.
func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*13 + i>>8 + n)
	}
	return b
}
