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

// expectMTU sends datagrams that must not be cut, one that just fits into the
// overlay and one that does not by a byte.
func expectMTU(ctx context.Context, l *lab) {
	GinkgoHelper()
	send := l.Inject("client:eth1")
	atClient := l.Capture("client:eth1", nil)
	atPod, atWorker := l.Capture("pod1:eth0", nil), l.Capture("worker1:eth1", nil)
	datagram := func(port uint16, length int) []byte {
		frame, err := packet.UDPFrame(packet.Header{
			SrcMAC: l.MAC("client:eth1"), DstMAC: l.MAC("master1:eth2"),
			Src: netip.AddrPortFrom(client, port), Dst: netip.AddrPortFrom(vip, fullnat.port), DF: true,
		}, make([]byte, length-udpHeaders))
		Expect(err).NotTo(HaveOccurred())
		return frame
	}
	harness.Step(fmt.Sprintf("a datagram of %d bytes arrives whole", overlayMTU), func() {
		frame := datagram(20000, overlayMTU)
		Expect(send.Send(frame)).To(Succeed())
		ctx, cancel := context.WithTimeout(ctx, harness.Patience)
		defer cancel()
		f, err := atPod.Wait(ctx, capture.Where(func(p packet.Packet) bool { return p.Src == netip.AddrPortFrom(vip, 20000) }))
		Expect(err).NotTo(HaveOccurred())
		Expect(f.Verify()).To(Succeed())
		Expect(f.Packet()).To(And(HaveField("Length", overlayMTU), HaveField("DF", true)))
	})
	harness.Step("a byte more and its sender is told what fits", func() {
		before := dropped(ctx, l, "mtu_exceeded")
		Expect(send.Send(datagram(20001, overlayMTU+1))).To(Succeed())
		ctx, cancel := context.WithTimeout(ctx, harness.Patience)
		defer cancel()
		f, err := atClient.Wait(ctx, capture.Where(func(p packet.Packet) bool {
			return p.Dst.Addr() == client && p.Flags == "type 3 code 4"
		}))
		Expect(err).NotTo(HaveOccurred(), "fragmentation needed")
		Expect(f.Verify()).To(Succeed())
		// RFC 1191 section 4: the next hop's MTU is in the last 16 bits of the ICMP header.
		Expect(binary.BigEndian.Uint16(f.Data[14+20+6:])).To(BeEquivalentTo(overlayMTU))
		Expect(dropped(ctx, l, "mtu_exceeded")).To(Equal(before + 1))
	})
	harness.Step("nothing was cut, and nothing of it came out", func() {
		Expect(cut(atWorker)).To(BeEmpty())
		inside, _ := split(atWorker.Frames())
		Expect(harness.Between(inside, netip.AddrPortFrom(vip, 20001), fullnat.server(v1.UDP))).To(BeEmpty())
	})
}
