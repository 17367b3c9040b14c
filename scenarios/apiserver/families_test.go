package apiserver

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
)

// tight asks for the pool that has two IPv4 addresses and one of IPv6.
const tight = "weir-lb.io/poolSelect: tight"

var _ = Describe("A Service that wants IPv6", Ordered, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	expectAllocated := func(ctx context.Context, name, condition string, message OmegaMatcher) {
		GinkgoHelper()
		l.expectService(ctx, name, messageOf("Allocated"), message)
		l.expectService(ctx, name, conditionOf("Allocated"), Equal(condition))
	}

	It("alone gets an address, which is kept and not published; it says so once, and is left in peace", func(ctx SpecContext) {
		a := ours("six", 80).families("SingleStack", "IPv6")
		l.remove("six")
		l.apply(ctx, a.manifest(), a.onIPv6("pod1"))
		expectAllocated(ctx, "six", "True/Assigned", Equal("2001:db8:113::1 from pool defaultPool"))
		l.expectService(ctx, "six", conditionOf("IPv6Served"), Equal("False/IPv6NotServed"))
		l.expectService(ctx, "six", messageOf("IPv6Served"), ContainSubstring("no client reaches it"))
		harness.Soon(ctx, func(ctx context.Context) (map[string]int, error) { return l.told(ctx, "six") }).
			Should(Equal(map[string]int{"Normal Assigned": 1, "Warning IPv6NotServed": 1}))
		before, err := l.service(ctx, "six")
		Expect(err).NotTo(HaveOccurred())
		l.apply(ctx, a.onIPv6("pod1", "pod2")) // has the controller decide again
		b := ours("four", 80)
		l.remove("four")
		l.apply(ctx, b.manifest(), b.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		harness.Holds(ctx, time.Second, func(ctx context.Context) (string, error) {
			o, err := l.service(ctx, "six")
			return o.address() + " of version " + o.Metadata.ResourceVersion, err
		}).Should(Equal(" of version " + before.Metadata.ResourceVersion))
		Expect(l.told(ctx, "six")).To(HaveLen(2))
		l.inSync(ctx, "ctl1") // no node has refused anything
	})

	DescribeTable("beside IPv4 is served by IPv4, whatever IPv6 endpoints it has",
		func(ctx SpecContext, policy, list, addresses string) {
			a := ours("both", 80).families(policy, list)
			l.remove("both")
			l.apply(ctx, a.manifest(), a.on("pod1"), a.onIPv6("pod2"))
			l.expectService(ctx, "both", addressOf, Equal("203.0.113.1"))
			expectAllocated(ctx, "both", "True/Assigned", Equal(addresses+" from pool defaultPool"))
			l.expectService(ctx, "both", messageOf("IPv6Served"), HaveSuffix("clients reach it at 203.0.113.1"))
			l.expectService(ctx, "both", conditionOf("Programmed"), Equal("True/Programmed"))
			l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
			harness.Soon(ctx, func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.1:80") }).Should(Equal("pod1"))
		},
		Entry("both required", "RequireDualStack", "IPv4, IPv6", "203.0.113.1 and 2001:db8:113::1"),
		Entry("both preferred, IPv6 first", "PreferDualStack", "IPv6, IPv4", "2001:db8:113::1 and 203.0.113.1"),
	)

	It("gets the addresses that it asks for, of each family", func(ctx SpecContext) {
		l.remove("asks", "rival")
		l.apply(ctx, ours("asks", 80).families("RequireDualStack", "IPv4, IPv6").noted("weir-lb.io/staticIP: '2001:db8:113::42,203.0.113.2'").manifest())
		expectAllocated(ctx, "asks", "True/Assigned", Equal("203.0.113.2 and 2001:db8:113::42 from pool defaultPool"))
		l.apply(ctx, ours("rival", 80).families("SingleStack", "IPv6").with("loadBalancerIP: '2001:db8:113:0::42'").manifest())
		expectAllocated(ctx, "rival", "False/AddressInUse", ContainSubstring("port 80/tcp of 2001:db8:113::42 belongs to default/asks"))
	})

	It("keeps the address of a family that stays, over every change of its policy, as its clients see it", func(ctx SpecContext) {
		l.remove("before", "turns")
		l.apply(ctx, ours("before", 80).families("RequireDualStack", "IPv4, IPv6").manifest())
		l.expectService(ctx, "before", addressOf, Equal("203.0.113.1"))
		turns := ours("turns", 80)
		l.apply(ctx, turns.families("SingleStack", "IPv4").manifest(), turns.on("pod1"))
		l.expectService(ctx, "turns", addressOf, Equal("203.0.113.2"))
		Expect(l.kube.delete(ctx, servicePath("before"))).To(Succeed())
		l.expectGone(ctx, "before")
		for _, step := range []struct{ policy, list, message string }{
			{"PreferDualStack", "IPv4, IPv6", "203.0.113.2 and 2001:db8:113::1 from pool defaultPool"},
			{"RequireDualStack", "IPv4, IPv6", "203.0.113.2 and 2001:db8:113::1 from pool defaultPool"},
			{"SingleStack", "IPv4", "203.0.113.2 from pool defaultPool"},
		} {
			l.apply(ctx, turns.families(step.policy, step.list).manifest())
			expectAllocated(ctx, "turns", "True/Assigned", Equal(step.message))
			l.expectService(ctx, "turns", addressOf, Equal("203.0.113.2"))
			harness.Soon(ctx, func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.2:80") }).Should(Equal("pod1"))
		}
		l.expectService(ctx, "turns", conditionOf("IPv6Served"), BeEmpty())
	})

	It("has the same addresses after a controller was killed, also those that no status tells", func(ctx SpecContext) {
		names := []string{"r0", "r1", "r2"}
		l.remove(names...)
		for i, name := range names {
			l.apply(ctx, ours(name, 80).families("PreferDualStack", "IPv6, IPv4").manifest())
			expectAllocated(ctx, name, "True/Assigned", Equal(fmt.Sprintf("2001:db8:113::%[1]d and 203.0.113.%[1]d from pool defaultPool", i+1)))
		}
		l.remove("alone")
		l.apply(ctx, ours("alone", 80).families("SingleStack", "IPv6").manifest())
		expectAllocated(ctx, "alone", "True/Assigned", Equal("2001:db8:113::4 from pool defaultPool"))
		Expect(l.kube.delete(ctx, servicePath("r0"))).To(Succeed())
		l.expectGone(ctx, "r0")
		versions := func(ctx context.Context) (string, error) {
			var all string
			for _, name := range []string{"r1", "r2", "alone"} {
				o, err := l.service(ctx, name)
				if err != nil {
					return "", err
				}
				all += o.Metadata.ResourceVersion + " " + fmt.Sprint(messageOf("Allocated")(o)) + "\n"
			}
			return all, nil
		}
		for _, name := range []string{"r1", "r2"} {
			l.expectService(ctx, name, conditionOf("Programmed"), Equal("True/Programmed")) // the last to be told
		}
		before, err := versions(ctx)
		Expect(err).NotTo(HaveOccurred())
		l.restart(ctx, "ctl1", func() {})
		l.inSync(ctx, "ctl1")
		harness.Holds(ctx, time.Second, versions).Should(Equal(before))
		l.apply(ctx, ours("r0", 80).families("PreferDualStack", "IPv6, IPv4").manifest())
		expectAllocated(ctx, "r0", "True/Assigned", Equal("2001:db8:113::1 and 203.0.113.1 from pool defaultPool"))
	})

	It("and finds none gets both, one or nothing, as its policy says, and the rest once it is free", func(ctx SpecContext) {
		l.remove("holds", "requires", "prefers", "widens")
		l.apply(ctx, ours("holds", 80).families("SingleStack", "IPv6").noted(tight).manifest())
		expectAllocated(ctx, "holds", "True/Assigned", Equal("2001:db8:113:1::1 from pool tight"))

		l.apply(ctx, ours("requires", 80).families("RequireDualStack", "IPv4, IPv6").noted(tight).manifest())
		expectAllocated(ctx, "requires", "False/PoolExhausted", HavePrefix("no IPv6 address: pool exhausted: pool tight (2001:db8:113:1::1-2001:db8:113:1::1) has no address left"))
		l.expectService(ctx, "requires", addressOf, BeEmpty())
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.reasons(ctx, "requires") }).Should(ConsistOf("Warning PoolExhausted"))

		// It holds no IPv4 address back: two others find two.
		l.apply(ctx, ours("prefers", 80).families("PreferDualStack", "IPv4, IPv6").noted(tight).manifest())
		expectAllocated(ctx, "prefers", "True/AssignedPartly", HavePrefix("203.0.113.111 from pool tight; no IPv6 address: pool exhausted"))
		l.apply(ctx, ours("widens", 80).families("SingleStack", "IPv4").noted(tight).manifest())
		l.expectService(ctx, "widens", addressOf, Equal("203.0.113.112"))

		// One that has IPv4 and comes to require both is not cut off.
		l.apply(ctx, ours("widens", 80).families("RequireDualStack", "IPv4, IPv6").noted(tight).manifest())
		expectAllocated(ctx, "widens", "False/PoolExhausted", HavePrefix("203.0.113.112 from pool tight; no IPv6 address: pool exhausted"))
		l.expectService(ctx, "widens", addressOf, Equal("203.0.113.112"))

		Expect(l.kube.delete(ctx, servicePath("holds"))).To(Succeed())
		expectAllocated(ctx, "prefers", "True/Assigned", Equal("203.0.113.111 and 2001:db8:113:1::1 from pool tight"))
		Expect(l.kube.delete(ctx, servicePath("prefers"))).To(Succeed()) // both its addresses are free: the oldest gets them
		expectAllocated(ctx, "requires", "True/Assigned", Equal("203.0.113.111 and 2001:db8:113:1::1 from pool tight"))
		l.expectService(ctx, "requires", addressOf, Equal("203.0.113.111"))
		Expect(l.kube.delete(ctx, servicePath("requires"))).To(Succeed())
		expectAllocated(ctx, "widens", "True/Assigned", Equal("203.0.113.112 and 2001:db8:113:1::1 from pool tight"))
		l.expectService(ctx, "widens", addressOf, Equal("203.0.113.112"))
	})
})
