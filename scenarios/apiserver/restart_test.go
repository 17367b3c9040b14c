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
