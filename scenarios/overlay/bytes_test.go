package overlay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// outerHeaders are what VXLAN puts before an inner frame: Ethernet, IPv4
// without options, UDP and VXLAN itself. vxlanPort is flannel's.
const (
	outerHeaders = 14 + 20 + 8 + 8
	vxlanPort    = 8472
)

// carried is the inner frame of an outer one.
func carried(f capture.Frame) (capture.Frame, bool) {
	const protocol, destination = 14 + 9, 14 + 20 + 2
	if len(f.Data) < outerHeaders || packet.Protocol(f.Data[protocol]) != packet.UDP ||
		binary.BigEndian.Uint16(f.Data[destination:]) != vxlanPort {
		return f, false
	}
	f.Data, f.Length = f.Data[outerHeaders:], f.Length-outerHeaders
	// An open checksum is the inner one, or the outer one where the inner is
	// complete: the kernel leaves one to a device, not both.
	f.Partial = f.Partial && packet.Verify(f.Data) != nil
	return f, true
}

// offloads says where checksums may be left to a device.
type offloads struct {
	name                    string
	senders, uplink, tunnel bool
}

// open tells whether a checksum that a sender left open still is when it comes
// to the worker. The probe's SCTP completes its own.
func (o offloads) open(p v1.Protocol) bool {
	return p != v1.SCTP && o.senders && o.uplink && o.tunnel
}

// On native XDP senders have to complete theirs (docs/testing.md).
var offloadsOf = map[string][]offloads{
	"tc": {
		{"offloads on", true, true, true},
		{"on at the senders, off at the uplink", true, false, true},
		{"on at the senders, off at the overlay", true, true, false},
		{"offloads off", false, false, false},
	},
	"xdp": {{"offloads off", false, false, false}},
}

func (o offloads) set(l *lab) {
	GinkgoHelper()
	for _, at := range []struct {
		node, iface string
		on          bool
	}{
		{"client", "eth1", o.senders}, {"pod1", "eth0", o.senders},
		{"master1", "eth1", o.uplink}, {"master1", "eth2", o.uplink}, {"master1", "flannel.1", o.tunnel},
	} {
		Expect(l.Node(at.node).Link(at.iface).SetOffload("tx", at.on)).To(Succeed())
	}
}

// expectBytes asks once and compares each packet where it was sent with where
// it arrived: the request inside the VXLAN at the worker, the answer, which
// comes back beside it, at the client.
func expectBytes(ctx context.Context, l *lab, s service, p v1.Protocol, o offloads) {
	GinkgoHelper()
	only := capture.Where(func(k packet.Packet) bool { return uint8(k.Protocol) == p.Number() })
	atClient := l.Capture("client:eth1", only)
	atWorker := l.Capture("worker1:eth1", nil)
	var sent, source netip.AddrPort
	harness.Step("the client asks and is answered", func() {
		a, err := l.requests.Do(ctx, s.request(p))
		Expect(err).NotTo(HaveOccurred())
		sent, source = a.Local, a.SeenClient
	})
	Expect(source.Addr()).To(Equal(s.source))
	frontend := netip.AddrPortFrom(vip, s.port)
	harness.Step("each packet arrived once, translated and nothing else", func() {
		harness.Soon(ctx, func() string {
			inside, beside := split(atWorker.Frames())
			requests := harness.Between(atClient.Frames(), sent, frontend)
			request := packet.Translation{Src: source, Dst: s.server(p), TTLDown: 1}
			if diff := harness.CompareFrames(requests, harness.Between(inside, source, s.server(p)), request); diff != "" {
				return "from client to worker1: " + diff
			}
			answer := packet.Translation{Src: frontend, Dst: sent, TTLDown: 1}
			answers := harness.Between(beside, s.server(p), source)
			if diff := harness.CompareFrames(answers, harness.Between(atClient.Frames(), frontend, sent), answer); diff != "" {
				return "from worker1 to client: " + diff
			}
			return ""
		}).Should(BeEmpty())
	})
	harness.Step("checksums were left open as the offloads say", func() {
		inside, _ := split(atWorker.Frames())
		Expect(harness.Between(inside, source, s.server(p))).To(HaveEach(HaveField("Partial", o.open(p))))
	})
	harness.Step("no outer packet was cut", func() { Expect(cut(atWorker)).To(BeEmpty()) })
}

// split parts inner frames from those that are no VXLAN.
func split(frames []capture.Frame) (inside, beside []capture.Frame) {
	for _, f := range frames {
		if inner, ok := carried(f); ok {
			inside = append(inside, inner)
		} else {
			beside = append(beside, f)
		}
	}
	return inside, beside
}

// cut keeps the fragments.
func cut(c *capture.Capture) []capture.Frame {
	var all []capture.Frame
	for _, f := range c.Frames() {
		if p, err := f.Packet(); err == nil && (p.MF || p.Offset > 0) {
			all = append(all, f)
		}
	}
	return all
}

// describeBytes has a spec for each offload and protocol.
func describeBytes(l func() *lab, hook string) {
	for _, o := range offloadsOf[hook] {
		for _, p := range protocols {
			It(fmt.Sprintf("get exact bytes: %s, %s", p, o.name), func(ctx SpecContext) {
				o.set(l())
				expectBytes(ctx, l(), fullnat, p, o)
			})
		}
	}
}
