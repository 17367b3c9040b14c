package health

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe"
)

// slack is what a busy machine may add to any bound.
const slack = time.Second

var _ = Describe("Health", Ordered, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	served := []frontend{tcp, udp, sctp, page, secure} // by processes; a ping asks the host

	It("of a backend whose servers die: new flows avoid it, weirctl says why, and it comes back with them", func(ctx SpecContext) {
		harness.Step("both backends answer", func() { l.expectOnly(ctx, "backend1", "backend2") })
		harness.Step("the servers of backend1 die, its host lives", func() {
			Expect(l.Node("backend1").Process("serve").Kill(ctx)).To(Succeed())
			l.pages["backend1"].Close()
			l.expectStates(ctx, leaves+slack, served, v1.BackendInactive)
			Expect(l.states(ctx)).To(HaveKeyWithValue(pinged.name(), v1.BackendActive))
			l.expectOnly(ctx, "backend2")
		})
		harness.Step("weirctl says why", func() {
			out, err := l.Node("lb").Run(ctx, "weirctl", "get", "ep", "-o", "wide")
			Expect(err).NotTo(HaveOccurred())
			for _, why := range []string{
				"connect: connection refused", "send: port unreachable", "get /: connection refused",
				"get /healthz: connection refused", "send INIT:",
			} {
				Expect(out).To(ContainSubstring(why))
			}
		})
	})

	It("outlives a weir that is killed: the dead backend gets no flow of the next one", func(ctx SpecContext) {
		weir := l.Node("lb").Process("weir")
		Expect(weir.Kill(ctx)).To(Succeed())
		Expect(weir.Start(ctx)).To(Succeed())
		harness.Soon(ctx, func(ctx context.Context) (int, error) {
			s, err := l.states(ctx)
			return len(s), err
		}).Should(Equal(len(all)))
		Expect(l.states(ctx)).To(And(each(served, v1.BackendInactive)...))
		l.expectOnly(ctx, "backend2")
		harness.Step("the servers of backend2 die too, and clients are refused at once", func() {
			for _, backend := range []string{"backend1", "backend2"} {
				// Linux tells a sender of one error a second; the probes of UDP and
				// SCTP make two, and a datagram of which nothing is said was taken.
				Expect(l.Node(backend).Run(ctx, "sysctl", "-q", "-w", "net/ipv4/icmp_ratelimit=0")).To(BeEmpty())
			}
			Expect(l.Node("backend2").Process("serve").Kill(ctx)).To(Succeed())
			Eventually(ctx, l.served).WithTimeout(leaves + slack).WithPolling(50 * time.Millisecond).Should(BeEmpty())
			before := l.noBackend(ctx)
			for p, f := range carries {
				harness.ExpectRefused(ctx, l.Requests, probe.Request{Protocol: p, Target: netip.AddrPortFrom(onelb.VIP, f.backend)})
			}
			Expect(l.noBackend(ctx)).To(BeNumerically(">=", before+uint64(len(carries))), "weir refuses, not the host of the servers")
		})
		harness.Step("the servers start, and both come back", func() {
			for _, backend := range []string{"backend1", "backend2"} {
				Expect(l.Node(backend).Process("serve").Start(ctx)).To(Succeed())
			}
			l.serveSecure(ctx, "backend1")
			l.expectStates(ctx, leaves+slack, all, v1.BackendActive)
			harness.Soon(ctx, l.served).Should(HaveLen(2 * len(carries)))
			l.expectOnly(ctx, "backend1", "backend2")
		})
	})

	It("of a backend whose cable is pulled: it is avoided, and comes back with the cable", func(ctx SpecContext) {
		cable := l.Node("backend1").Link("eth1")
		Expect(cable.Down()).To(Succeed())
		DeferCleanup(cable.Up)
		harness.Soon(ctx, l.states).Should(Not(ContainElement(v1.BackendActive)))
		l.expectOnly(ctx, "backend2")
		harness.Step("it is plugged in again", func() {
			Expect(cable.Up()).To(Succeed())
			Expect(l.Node("backend1").Run(ctx, "ip", "route", "replace", "default", "via", "198.51.100.10")).To(BeEmpty())
			l.expectStates(ctx, harness.Patience, all, v1.BackendActive)
			l.expectOnly(ctx, "backend1", "backend2")
		})
	})
})
