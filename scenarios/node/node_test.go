package node

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
)

var _ = Describe("Masters with pods", func() {
	for _, hook := range []string{"tc", "xdp"} {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() { describe(hook) })
	}
})

func describe(hook string) {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx, harness.Options{Hook: hook}) })

	for _, a := range askers {
		It(fmt.Sprintf("serve %s, wherever the pod is", a.node), func(ctx SpecContext) { l.expectServed(ctx, a) })
	}

	for _, m := range []v1.Mode{v1.ModeOneArm, v1.ModeDefault} {
		It(fmt.Sprintf("serve all of them in mode %s", m), func(ctx SpecContext) {
			l.use(ctx, m)
			DeferCleanup(l.use, v1.ModeFullNAT)
			l.expectServed(ctx, askers...)
		})
	}

	It("say that they do", func(ctx SpecContext) {
		for _, master := range []string{"master1", "master2"} {
			Expect(l.traffic(ctx, master, onActive)).To(HavePrefix("true EgressHooks"))
		}
	})

	It("leave their own connections alone to a backend that sees them in place of clients", func(ctx SpecContext) { expectUndisturbed(ctx, l) })

	It("account for every packet, and drop none of these", func(ctx SpecContext) {
		for _, master := range []string{"master1", "master2"} {
			for reason, n := range l.expectAccounted(ctx, master) {
				Expect(n).To(BeZero(), "%s of %s", reason, master)
			}
		}
	})

	for _, p := range []v1.Protocol{v1.TCP, v1.SCTP} {
		It(fmt.Sprintf("drop %s answers that have no flow there, and reset nothing", p), func(ctx SpecContext) { expectNoFlow(ctx, l, p) })
	}

	It("drop what a pod sends to the VIP without a flow, and reset nothing", func(ctx SpecContext) { expectNoFlowAtEgress(ctx, l) })

	describeEnd(func() *lab { return l })
}

var _ = Describe("Masters with pods, without --egr-hooks", Ordered, func() {
	It("do not use those pods, say why, and serve by others", func(ctx SpecContext) {
		l := up(ctx, harness.Options{Vars: map[string]string{"egress": "false"}})
		harness.Step("the condition says why", func() {
			const why = "false EgressHooksOff: backends on this node are not used, for their answers would leave untranslated: %s; start weir with --egr-hooks"
			harness.Soon(ctx, func() (string, error) { return l.traffic(ctx, "master1", mixed) }).Should(Equal(fmt.Sprintf(why, master1)))
			harness.Soon(ctx, func() (string, error) { return l.traffic(ctx, "master1", onActivePod) }).Should(Equal(fmt.Sprintf(why, "10.42.0.5")))
			Expect(l.traffic(ctx, "master1", onWorker)).To(BeEmpty())
		})
		harness.Step("the other pod serves", func() {
			for range 6 {
				answer, err := l.requests["client"].Do(ctx, mixed.request(v1.TCP))
				Expect(err).NotTo(HaveOccurred())
				Expect(answer.Backend).To(Equal("pod-worker1"))
			}
			for _, s := range []service{onStandby, onWorkerPod} {
				for _, p := range protocols {
					Expect(l.ask(ctx, askers[0], s, p)).To(BeEmpty())
				}
			}
		})
		harness.Step("a service that has only such a pod drops what comes, under its reason", func() {
			r := onActive.request(v1.TCP)
			r.Timeout = silence
			_, err := l.requests["client"].Do(ctx, r)
			Expect(err).To(HaveOccurred())
			Expect(l.expectAccounted(ctx, "master1")).To(HaveKeyWithValue("no_backend", BeNumerically(">", 0)))
		})
	})
})
