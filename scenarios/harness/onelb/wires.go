package onelb

import (
	"context"
	"net/netip"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// The silent addresses belong to the client and to backend1, whose kernels drop
// what comes for them: nothing but crafted frames is ever sent from there.
var (
	SilentClient  = netip.MustParseAddr("192.0.2.2")
	SilentBackend = netip.MustParseAddrPort("198.51.100.2:7000")
)

// Silence adds the silent addresses.
func (l *Lab) Silence(ctx context.Context) {
	ginkgo.GinkgoHelper()
	for node, address := range map[string]netip.Prefix{
		"client": netip.PrefixFrom(SilentClient, 24), "backend1": netip.PrefixFrom(SilentBackend.Addr(), 25),
	} {
		n := l.Node(node)
		gomega.Expect(link.AddAddress(n.NS, "eth1", address)).To(gomega.Succeed())
		_, err := n.Run(ctx, "iptables", "-w", "-I", "INPUT", "-d", address.Addr().String(), "-j", "DROP")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
	}
}

// Wires are the two ends of the page, for crafted frames.
type Wires struct {
	lab                     *Lab
	fromClient, fromBackend *capture.Injector
	atClient, atBackend     *capture.Capture
}

// Wire opens both ends until the spec or container ends.
func (l *Lab) Wire() Wires {
	ginkgo.GinkgoHelper()
	incoming := func(f capture.Frame) bool { return !f.Outgoing }
	return Wires{
		lab: l, fromClient: l.Inject("client:eth1"), fromBackend: l.Inject("backend1:eth1"),
		atClient: l.Capture("client:eth1", incoming), atBackend: l.Capture("backend1:eth1", incoming),
	}
}

// Header addresses a frame to weir: from the client, or as the backend's reply.
func (w Wires) Header(f Way, reply bool) packet.Header {
	ginkgo.GinkgoHelper()
	if reply {
		return packet.Header{SrcMAC: w.lab.MAC("backend1:eth1"), DstMAC: w.lab.MAC("lb:eth2"), Src: f.Backend, Dst: f.Source}
	}
	return packet.Header{SrcMAC: w.lab.MAC("client:eth1"), DstMAC: w.lab.MAC("lb:eth1"), Src: f.Client, Dst: f.Frontend}
}

// Pass sends a frame from one end and returns it as it came to the other.
func (w Wires) Pass(ctx context.Context, frame []byte, reply bool) capture.Frame {
	ginkgo.GinkgoHelper()
	got, err := w.Try(ctx, harness.Patience, frame, reply)
	sent, _ := packet.Parse(frame) // a frame that does not parse does not arrive
	gomega.Expect(err).NotTo(gomega.HaveOccurred(), "%s was sent", sent)
	return got
}

// Try is Pass with a time-out, whose error is the caller's to judge.
func (w Wires) Try(ctx context.Context, timeout time.Duration, frame []byte, reply bool) (capture.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	from, at := w.fromClient, w.atBackend
	if reply {
		from, at = w.fromBackend, w.atClient
	}
	arrival := arrivalOf(frame)
	if err := from.Send(frame); err != nil {
		return capture.Frame{}, err
	}
	return at.Wait(ctx, arrival)
}

// arrivalOf recognizes the frame, sent from now on, at another place.
func arrivalOf(frame []byte) func(capture.Frame) bool {
	now := time.Now()
	id, err := packet.Identify(frame)
	return func(f capture.Frame) bool {
		if err != nil || f.Time.Before(now) {
			return false
		}
		other, err := packet.Identify(f.Data)
		return err == nil && other == id
	}
}
