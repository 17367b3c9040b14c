package node

import (
	"context"
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// table is where the worker's answers are led astray.
const table = "77"

// expectNoFlow opens a connection from the client to the pod on worker1, leads its
// answers to master2, which has no flow of it, and back.
func expectNoFlow(ctx context.Context, l *lab, p v1.Protocol) {
	GinkgoHelper()
	worker := l.Node("worker1")
	ip := func(args ...string) {
		GinkgoHelper()
		_, err := worker.Run(ctx, "ip", args...)
		Expect(err).NotTo(HaveOccurred())
	}
	r := onWorkerPod.request(p)
	r.Timeout = 15 * time.Second
	session, err := l.requests["client"].Open(ctx, r)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(session.Close)
	_, err = session.Ask(ctx)
	Expect(err).NotTo(HaveOccurred())
	was := l.expectAccounted(ctx, "master2")["no_flow"]

	asked := make(chan error, 1)
	harness.Step("what it is answered by way of master2 is dropped there", func() {
		ip("route", "add", vip.String(), "via", master2.String(), "table", table)
		ip("rule", "add", "to", vip.String(), "lookup", table)
		go func() {
			_, err := session.Ask(ctx)
			asked <- err
		}()
		harness.Soon(ctx, func(ctx context.Context) uint64 { return l.expectAccounted(ctx, "master2")["no_flow"] }).Should(BeNumerically(">", was))
	})
	harness.Step("back by way of master1 the connection goes on", func() {
		ip("rule", "del", "to", vip.String(), "lookup", table)
		ip("route", "flush", "table", table)
		Expect(<-asked).To(Succeed())
	})
}

// expectNoFlowAtEgress sends a segment of no connection from the pod of master2,
// whose egress program is the first to see it.
func expectNoFlowAtEgress(ctx context.Context, l *lab) {
	GinkgoHelper()
	const pod = "pod-master2:eth0"
	was := l.expectAccounted(ctx, "master2")["no_flow"]
	answers := l.Capture(pod, capture.Where(func(p packet.Packet) bool { return p.Src.Addr() == vip }))
	frame, err := packet.TCPFrame(packet.Header{
		SrcMAC: l.MAC(pod), DstMAC: l.MAC("master2:cni0"),
		Src: netip.MustParseAddrPort("10.42.1.5:20000"), Dst: netip.AddrPortFrom(vip, onWorkerPod.port),
	}, layers.TCP{ACK: true, Seq: 1, Ack: 1, Window: 502}, nil)
	Expect(err).NotTo(HaveOccurred())
	Expect(l.Inject(pod).Send(frame)).To(Succeed())
	harness.Soon(ctx, func(ctx context.Context) uint64 { return l.expectAccounted(ctx, "master2")["no_flow"] }).Should(Equal(was + 1))
	harness.Holds(ctx, silence, answers.Frames).Should(BeEmpty())
}
