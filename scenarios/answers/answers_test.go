package answers

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/probe"
)

var (
	backend3 = netip.MustParseAddr("10.2.0.2")
	closed   = netip.AddrPortFrom(onelb.VIP, 4444)
)

const (
	// narrow is the MTU of the one link that is narrower than all others, which are wide.
	narrow, wide = 1400, 1500
	// bulk is how many bytes a transfer moves: many packets of full length.
	bulk = 2 << 20
)

var _ = Describe("What goes no further", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.UpPage(ctx, "routers.yaml", harness.Options{Hook: hook})
			})
			BeforeEach(func(ctx SpecContext) { lab.Program(ctx, "lb", onelb.Services(onelb.Backend1)...) })

			It("a closed port refuses a connection, a datagram and an association", func(ctx SpecContext) {
				expectRefusals(ctx, lab, func(p v1.Protocol) netip.AddrPort { return closed })
			})
			It("a service whose backends are gone refuses at once, and serves again when they are back", func(ctx SpecContext) {
				at := func(p v1.Protocol) netip.AddrPort { return onelb.Frontend(v1.ModeFullNAT, p) }
				harness.Step("the endpoints go", func() { lab.Program(ctx, "lb", onelb.Services()...) })
				expectRefusals(ctx, lab, at)
				harness.Step("and come back", func() { lab.Program(ctx, "lb", onelb.Services(onelb.Backend1)...) })
				for _, p := range onelb.Protocols {
					a, err := lab.Requests.Do(ctx, onelb.Request(v1.ModeFullNAT, p))
					Expect(err).NotTo(HaveOccurred())
					Expect(a.Backend).To(Equal("backend1"))
				}
			})
			It("a backend's own refusal reaches the client, as the VIP's", func(ctx SpecContext) {
				for _, m := range onelb.Modes {
					lab.Program(ctx, "lb", onelb.Service(m, v1.UDP, netip.AddrPortFrom(onelb.Backend1, 9)))
					Expect(ask(ctx, lab, "client", onelb.Frontend(m, v1.UDP), 0, 10, harness.Patience)).To(
						Equal(told{Errno: unix.ECONNREFUSED, Type: 3, Code: 3, By: onelb.VIP}), "%s", m)
				}
			})
			It("traceroute sees weir by its own address, then the VIP", func(ctx SpecContext) {
				frontend := onelb.Frontend(v1.ModeFullNAT, v1.UDP)
				Expect(ask(ctx, lab, "client", frontend, 1, 10, harness.Patience)).To(
					Equal(told{Errno: unix.EHOSTUNREACH, Type: 11, By: onelb.TowardsClient}))
				Expect(ask(ctx, lab, "client", netip.AddrPortFrom(onelb.VIP, 33434), 1, 10, harness.Patience)).To(
					Equal(told{Errno: unix.ECONNREFUSED, Type: 3, Code: 3, By: onelb.VIP}))
				lab.Program(ctx, "lb", onelb.Service(v1.ModeFullNAT, v1.UDP, onelb.Server(backend3, v1.UDP)))
				Expect(ask(ctx, lab, "client", frontend, 2, 10, harness.Patience)).To(
					Equal(told{Errno: unix.EHOSTUNREACH, Type: 11, By: onelb.VIP}), "the router behind the VIP is hidden by it")
			})
			It("control: what is served is not refused", func(ctx SpecContext) {
				_, err := ask(ctx, lab, "client", onelb.Frontend(v1.ModeFullNAT, v1.UDP), 0, 10, 300*time.Millisecond)
				Expect(err).To(MatchError(errSilence))
			})
			AfterAll(func(ctx SpecContext) { expectBalance(ctx, lab) })
		})
	}
})

// expectRefusals tries each protocol at a port that does not serve it.
func expectRefusals(ctx context.Context, lab *onelb.Lab, at func(v1.Protocol) netip.AddrPort) {
	GinkgoHelper()
	harness.Step("TCP is reset", func() {
		refused(ctx, lab, v1.TCP, at(v1.TCP))
	})
	harness.Step("SCTP is aborted", func() {
		refused(ctx, lab, v1.SCTP, at(v1.SCTP))
	})
	harness.Step("UDP reads an error", func() {
		refused(ctx, lab, v1.UDP, at(v1.UDP))
		Expect(ask(ctx, lab, "client", at(v1.UDP), 0, 10, harness.Patience)).To(
			Equal(told{Errno: unix.ECONNREFUSED, Type: 3, Code: 3, By: onelb.VIP}))
	})
}

func refused(ctx context.Context, lab *onelb.Lab, p v1.Protocol, at netip.AddrPort) {
	GinkgoHelper()
	harness.ExpectRefused(ctx, lab.Requests, probe.Request{Protocol: probe.Protocol(p), Target: at})
}

// expectBalance sees that every packet is accounted for.
func expectBalance(ctx context.Context, lab *onelb.Lab) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) (uint64, error) {
		c, err := lab.Weir("lb").Counters(ctx)
		sum := c.Forwarded + c.Passed
		for _, d := range c.Drops {
			sum += d.Count
		}
		return c.In - sum, err
	}).Should(BeZero())
}

// setMTU makes one end of a link narrow: what it sends, not what it receives.
func setMTU(lab *onelb.Lab, node, device string, mtu int) {
	GinkgoHelper()
	Expect(link.SetMTU(lab.Node(node).NS, device, mtu)).To(Succeed())
}
