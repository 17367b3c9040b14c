package overlay

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

var _ = Describe("Pods behind a VXLAN", func() {
	for _, hook := range []string{"tc", "xdp"} {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var l *lab
			BeforeAll(func(ctx SpecContext) { l = up(ctx, harness.Options{Hook: hook}) })

			for _, s := range []service{fullnat, onearm, direct} {
				for _, p := range protocols {
					It(fmt.Sprintf("answer: %s, %s", s.name, p), func(ctx SpecContext) {
						Expect(l.ask(ctx, s, p)).To(BeEmpty())
					})
				}
			}

			describeBytes(func() *lab { return l }, hook)

			It("are where weirctl doctor says what native XDP on veth loses", func(ctx SpecContext) {
				found, code := l.examine(ctx, "master1")
				Expect(code).To(BeZero())
				if hook == "tc" {
					Expect(found["offloads"]).To(ConsistOf(HaveField("Level", "ok")))
					return
				}
				Expect(found["offloads"]).To(ConsistOf(
					And(HaveField("Level", "warn"), HaveField("Seen", HavePrefix("eth1 is a veth with native XDP"))),
					And(HaveField("Level", "warn"), HaveField("Seen", HavePrefix("eth2 is a veth with native XDP"))),
				))
			})

			It("carry bulk TCP", func(ctx SpecContext) {
				expectBulk(ctx, l, "up", (*probe.Client).Upload)
				expectBulk(ctx, l, "down", (*probe.Client).Download)
			})

			It("never get a packet longer than the overlay takes", func(ctx SpecContext) { expectMTU(ctx, l) })

			describeOffloads(func() *lab { return l }, hook)

			It("control: on a worker whose filter stays strict their answers are lost", func(ctx SpecContext) {
				for _, p := range []v1.Protocol{v1.TCP, v1.UDP} {
					Expect(l.askWithin(ctx, silence, filtered, p)).NotTo(BeEmpty())
				}
				Expect(l.filterOf("worker2")(ctx)).To(Equal("1"))
			})
		})
	}
})

// describeFilter has the specs of worker1's reverse path filter. The last one
// drains it.
func describeFilter(l func() *lab) {
	It("loosens the overlay's filter again when somebody makes it strict", func(ctx SpecContext) {
		Expect(l().filterOf("worker1")(ctx)).To(Equal("2"))
		_, err := l().Node("worker1").Run(ctx, "sysctl", "-w", "net/ipv4/conf/flannel.1/rp_filter=1")
		Expect(err).NotTo(HaveOccurred())
		harness.Soon(ctx, l().filterOf("worker1")).Should(Equal("2"))
	})

	It("leaves it loose while it restarts, and restores it when it is drained", func(ctx SpecContext) {
		weir := l().Node("worker1").Process("weir")
		harness.Step("a crash changes nothing", func() {
			Expect(weir.Kill(ctx)).To(Succeed())
			Expect(l().filterOf("worker1")(ctx)).To(Equal("2"))
			Expect(weir.Start(ctx)).To(Succeed())
			harness.Holds(ctx, 300*time.Millisecond, l().filterOf("worker1")).Should(Equal("2"))
		})
		harness.Step("a drain restores it", func() {
			_, err := l().Node("worker1").Run(ctx, "weirctl", "drain")
			Expect(err).NotTo(HaveOccurred())
			harness.Soon(ctx, l().filterOf("worker1")).Should(Equal("1"))
		})
	})
}
