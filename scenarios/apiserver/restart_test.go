package apiserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/scenarios/harness"
)

var _ = Describe("The controller", Ordered, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	It("that was killed gives the same addresses, also to who is refused just now", func(ctx SpecContext) {
		a, b, c := ours("a", 80), ours("b", 80), ours("c", 80)
		l.remove("a", "b", "c")
		for i, w := range []web{a, b, c} {
			l.apply(ctx, w.manifest(), w.on("pod1"))
			l.expectService(ctx, w.name, addressOf, Equal(fmt.Sprintf("203.0.113.%d", i+1)))
		}
		l.apply(ctx, a.noted("loxilb.io/lbmode: fulnat").manifest())
		l.expectService(ctx, "a", addressOf, BeEmpty())
		Expect(l.kube.delete(ctx, servicePath("b"))).To(Succeed())
		l.expectGone(ctx, "b")
		l.restart(ctx, "ctl1", func() {
			l.apply(ctx, b.manifest()) // would take the first free address
			l.apply(ctx, a.manifest())
		})
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		l.expectService(ctx, "b", addressOf, Equal("203.0.113.2"))
		l.expectService(ctx, "c", addressOf, Equal("203.0.113.3"))
	})

	It("keeps more for those that are refused than one object of Kubernetes holds", func(ctx SpecContext) {
		// 110 of 300 ports were more than the 1 MiB of a ConfigMap once. Of IPv6 alone, so that no node has to have them all.
		const refused, ports = 110, 300
		long := func(i int) web {
			return ours(fmt.Sprintf("long-%d", i), 1000+ports*i).families("SingleStack", "IPv6").noted(tight).with("allocateLoadBalancerNodePorts: false")
		}
		all := func(note string) {
			each(ctx, refused, func(ctx context.Context, i int) error {
				return l.kube.patch(ctx, servicePath(long(i).name), `{"metadata": {"annotations": {"weir-lb.io/lbmode": `+note+`}}}`)
			})
		}
		expectAll := func(condition, want string) {
			for i := range refused {
				l.expectService(ctx, long(i).name, conditionOf(condition), Equal(want))
			}
		}
		rival := long(0)
		rival.name = "rival"
		for i := range refused {
			l.remove(long(i).name)
		}
		l.remove("rival")
		each(ctx, refused, func(ctx context.Context, i int) error { return l.kube.apply(ctx, long(i).manifestOf(ports)) })
		expectAll("Allocated", "True/Assigned")
		all(`"fulnat"`)
		expectAll("Accepted", "False/UnknownMode")
		s, err := l.controllers["ctl1"].Controller(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(s.Problems).To(BeEmpty())
		l.restart(ctx, "ctl1", func() { l.apply(ctx, rival.manifest()) })
		l.expectService(ctx, "rival", messageOf("Allocated"), ContainSubstring("port 1000/tcp free")) // none is: long-0 has it
		all("null")
		expectAll("Allocated", "True/Assigned")
	})

	It("takes over what an earlier version kept in its ConfigMap, and takes it out of there when the Services have it", func(ctx SpecContext) {
		old := ours("old", 80).families("SingleStack", "IPv6")
		l.remove("old")
		kept := func(ctx context.Context) (string, error) {
			var memory struct{ Data map[string]string }
			err := l.kube.get(ctx, "/api/v1/namespaces/weir-system/configmaps/kube-weir", &memory)
			return memory.Data["memory.json"], err
		}
		l.restart(ctx, "ctl1", func() {
			l.apply(ctx, old.manifest())
			Expect(l.kube.patch(ctx, "/api/v1/namespaces/weir-system/configmaps/kube-weir",
				`{"data": {"memory.json": "{\"epoch\": 1, \"kept\": {\"default/old\": {\"address6\": \"2001:db8:113::77\"}}}"}}`)).To(Succeed())
		})
		l.expectService(ctx, "old", messageOf("Reserved"), Equal("2001:db8:113::77 for 80/tcp"))
		harness.Soon(ctx, kept).ShouldNot(ContainSubstring("kept"))
		l.restart(ctx, "ctl1", func() {})
		l.inSync(ctx, "ctl1")
		l.expectService(ctx, "old", messageOf("Allocated"), Equal("2001:db8:113::77 from pool defaultPool"))
	})

	It("cleans up what was deleted, or became another type, while it was down", func(ctx SpecContext) {
		a, b := ours("a", 80), ours("b", 81)
		l.remove("a", "b")
		l.apply(ctx, a.manifest(), a.on("pod1"), b.manifest(), b.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod1")
		l.restart(ctx, "ctl1", func() {
			Expect(l.kube.delete(ctx, servicePath("a"))).To(Succeed())
			l.apply(ctx, web{name: "b", port: 81, lines: []string{"type: ClusterIP"}}.manifest())
		})
		l.expectServed(ctx)
		l.expectGone(ctx, "a")
		l.expectService(ctx, "b", finalizersOf, BeEmpty())
	})

	It("moves nobody for what others came to ask for while it was down", func(ctx SpecContext) {
		a, b := ours("a", 80), ours("b", 81)
		l.remove("a", "b")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		l.apply(ctx, b.manifest(), b.on("pod2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod2")
		l.expectService(ctx, "b", addressOf, Equal("203.0.113.1"))
		a.port = 81
		l.restart(ctx, "ctl1", func() { l.apply(ctx, a.manifest()) })
		l.expectServed(ctx, "203.0.113.1:81/tcp pod2", "203.0.113.2:81/tcp pod1")
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.2"))
	})

	It("leaves to another class what went over to it while it was down", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		l.restart(ctx, "ctl1", func() {
			l.apply(ctx, web{name: "a", port: 80, lines: []string{"type: NodePort"}}.manifest())
			l.apply(ctx, web{name: "a", port: 80, lines: []string{"type: LoadBalancer", "loadBalancerClass: example.com/lb"}}.manifest())
			l.expectService(ctx, "a", addressOf, BeEmpty()) // as the apiserver has it
			Expect(l.kube.patch(ctx, servicePath("a")+"/status", `{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}`)).To(Succeed())
		})
		l.expectServed(ctx)
		l.expectService(ctx, "a", conditionOf("Accepted"), BeEmpty())
		l.expectService(ctx, "a", addressOf, Equal("192.0.2.9"))
	})

	It("tells nothing anew after a restart that finds all as it was", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectService(ctx, "a", conditionOf("Reachable"), Equal("True/EndpointsReady"))
		l.expectService(ctx, "a", conditionOf("Programmed"), Equal("True/Programmed")) // the last to be told
		before, err := l.service(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		events, err := l.reasons(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		l.restart(ctx, "ctl1", func() {})
		l.inSync(ctx, "ctl1")
		harness.Holds(ctx, time.Second, func(ctx context.Context) (string, error) {
			o, err := l.service(ctx, "a")
			return o.Metadata.ResourceVersion, err
		}).Should(Equal(before.Metadata.ResourceVersion))
		Expect(l.reasons(ctx, "a")).To(ConsistOf(events))
	})

	It("of which two run leads once: the other stands by, and takes over at once from one that ends", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		DeferCleanup(func(ctx context.Context) { // the next spec finds ctl1 alone
			Expect(l.process("ctl2").Stop(ctx)).To(Succeed())
			if !l.process("ctl1").Running() {
				Expect(l.process("ctl1").Start(ctx)).To(Succeed())
			}
			l.decides(ctx, "ctl1")
		})
		Expect(l.process("ctl2").Start(ctx)).To(Succeed())
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			s, err := l.controllers["ctl2"].Controller(ctx)
			return fmt.Sprintf("%s leads, %d nodes here", s.Leader, len(s.Nodes)), err
		}).Should(Equal("ctl1 leads, 0 nodes here"))
		harness.Soon(ctx, l.controllers["ctl2"].Ready).Should(Succeed())
		Expect(l.process("ctl1").Stop(ctx)).To(Succeed())
		l.decides(ctx, "ctl2")
		l.apply(ctx, a.on("pod2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2")
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
	})

	It("that hangs is followed by the other, and ends itself when it wakes", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		first, second := l.process("ctl1"), l.process("ctl2")
		Expect(first.Stop(ctx)).To(Succeed())
		long := first.Spec.Command
		short := strings.Replace(long, "{{.Vars.lease}}", "3s", 1)
		first.Spec.Command, second.Spec.Command = short, short
		DeferCleanup(func(ctx context.Context) {
			first.Spec.Command, second.Spec.Command = long, long
			Expect(first.Stop(ctx)).To(Succeed())
			Expect(second.Stop(ctx)).To(Succeed())
			Expect(first.Start(ctx)).To(Succeed())
			l.decides(ctx, "ctl1")
		})
		Expect(first.Start(ctx)).To(Succeed())
		l.decides(ctx, "ctl1")
		Expect(second.Start(ctx)).To(Succeed())
		Expect(first.Signal(unix.SIGSTOP)).To(Succeed())
		DeferCleanup(first.Signal, unix.SIGCONT)
		l.decides(ctx, "ctl2")
		l.apply(ctx, a.on("pod2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2")
		Expect(first.Signal(unix.SIGCONT)).To(Succeed())
		harness.Soon(ctx, first.Running).Should(BeFalse())
		Expect(first.Tail(5)).To(ContainSubstring("leadership lost"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2")
	})
})
