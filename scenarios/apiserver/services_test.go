package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
)

// follow is how soon an endpoint's change is seen by a client.
const follow = time.Second

var _ = Describe("A Service", Ordered, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	It("of weir's class gets an address, a status that kube-proxy leaves alone, a finalizer, and is served", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		l.expectService(ctx, "a", conditionOf("Reachable"), Equal("True/EndpointsReady"))
		o, err := l.service(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(o.Status.LoadBalancer.Ingress[0].IPMode).To(Equal("Proxy"))
		Expect(o.Metadata.Finalizers).To(Equal([]string{"service.kubernetes.io/load-balancer-cleanup"}))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		harness.Soon(ctx, func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.1:80") }).Should(Equal("pod1"))
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.reasons(ctx, "a") }).Should(ContainElement("Normal Assigned"))
	})

	It("to whose endpoints no node has a route is not programmed, by its status, and is once one has", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), slice("default", a.name, 8080, "192.0.2.99@pod1"))
		l.expectService(ctx, "a", conditionOf("Programmed"), Equal("False/BackendsUnreachable"))
		l.expectService(ctx, "a", messageOf("Programmed"), HavePrefix("lb1, lb2: no route to, or no answer to ARP from, 192.0.2.99"))
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.reasons(ctx, "a") }).Should(ContainElement("Warning BackendsUnreachable"))
		l.apply(ctx, a.on("pod1"))
		l.expectService(ctx, "a", conditionOf("Programmed"), Equal("True/Programmed"))
	})

	It("follows its endpoints within a second, as a client sees it", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		harness.Soon(ctx, func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.1:80") }).Should(Equal("pod1"))
		for _, pod := range []string{"pod2", "pod1", "pod2"} {
			l.apply(ctx, a.on(pod))
			Eventually(ctx, func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.1:80") }).
				WithTimeout(follow).WithPolling(10 * time.Millisecond).Should(Equal(pod))
		}
	})

	It("keeps the port that the apiserver chose for health checks, and all else that it wants", func(ctx SpecContext) {
		a := ours("a", 80).with("externalTrafficPolicy: Local")
		wants := func(ctx context.Context) (spec map[string]any, err error) {
			var o struct{ Spec map[string]any }
			err = l.kube.get(ctx, servicePath("a"), &o)
			return o.Spec, err
		}
		l.remove("a")
		// Without the controller first: what it writes then is all that it writes.
		var before map[string]any
		l.restart(ctx, "ctl1", func() {
			l.apply(ctx, a.manifest(), a.on("pod1"))
			var err error
			before, err = wants(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(before["healthCheckNodePort"]).To(BeNumerically(">", 0))
		})
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		l.expectService(ctx, "a", conditionOf("Programmed"), Equal("True/Programmed"))
		Expect(wants(ctx)).To(Equal(before))
		l.apply(ctx, a.on())
		l.expectService(ctx, "a", conditionOf("Reachable"), Equal("False/NoReadyEndpoints"))
		Expect(wants(ctx)).To(Equal(before))
	})

	It("that publishes addresses which are not ready is served by pods that end and serve no more", func(ctx SpecContext) {
		a := ours("a", 80).with("publishNotReadyAddresses: true").with("externalTrafficPolicy: Local")
		l.remove("a")
		// As Kubernetes writes it for such a Service: ready, whatever the pod says.
		ending := strings.NewReplacer("serving: true", "serving: false", "terminating: false", "terminating: true").Replace(a.on("pod1"))
		l.apply(ctx, a.manifest(), ending)
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		l.apply(ctx, strings.Replace(ending, "ready: true", "ready: false", 1))
		l.expectServed(ctx, "203.0.113.1:80/tcp")
	})

	It("that is deleted goes when the nodes have dropped it", func(ctx SpecContext) {
		a := ours("a", 80)
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		Expect(l.kube.delete(ctx, servicePath("a"))).To(Succeed())
		l.expectGone(ctx, "a")
		for _, lb := range []string{"lb1", "lb2"} {
			Expect(l.served(ctx, lb)).To(BeEmpty(), "%s, once the Service is gone", lb)
		}
	})

	It("that is deleted while a node does not answer waits for it, and goes once it does", func(ctx SpecContext) {
		a := ours("a", 80)
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		Expect(l.Node("lb2").Link("eth1").Down()).To(Succeed())
		DeferCleanup(l.Node("lb2").Link("eth1").Up)
		Expect(l.kube.delete(ctx, servicePath("a"))).To(Succeed())
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, "lb1") }).Should(BeEmpty())
		harness.Holds(ctx, time.Second, func(ctx context.Context) ([]string, error) {
			o, err := l.service(ctx, "a")
			return o.Metadata.Finalizers, err
		}).ShouldNot(BeEmpty())
		Expect(l.Node("lb2").Link("eth1").Up()).To(Succeed())
		l.expectGone(ctx, "a")
		Expect(l.served(ctx, "lb2")).To(BeEmpty())
	})

	It("of no class, of another class, or of no such type is never touched", func(ctx SpecContext) {
		// Made from the manifest of a Service of weir's, mark and all; the finalizer is its own load balancer's.
		copied := web{name: "copied", port: 80, lines: []string{"type: LoadBalancer", "loadBalancerClass: example.com/lb"}}.
			noted("weir-lb.io/served: 0c8fd61a-7c52-4f0e-9d4c-2c7f5b1d5a10")
		others := []web{
			{name: "none", port: 80, lines: []string{"type: LoadBalancer"}},
			{name: "other", port: 80, lines: []string{"type: LoadBalancer", "loadBalancerClass: example.com/lb"}},
			{name: "inner", port: 80, lines: []string{"type: ClusterIP"}},
			copied,
		}
		before := map[string]string{}
		for _, w := range others {
			l.remove(w.name)
			l.apply(ctx, w.manifest(), w.on("pod1"))
			if w.name == copied.name {
				Expect(l.kube.patch(ctx, servicePath(w.name), `{"metadata":{"finalizers":["service.kubernetes.io/load-balancer-cleanup"]}}`)).To(Succeed())
				DeferCleanup(func(ctx context.Context) error {
					return l.kube.patch(ctx, servicePath(copied.name), `{"metadata":{"finalizers":null}}`)
				})
			}
			o, err := l.service(ctx, w.name)
			Expect(err).NotTo(HaveOccurred())
			before[w.name] = o.Metadata.ResourceVersion
		}
		l.remove("a")
		l.apply(ctx, ours("a", 80).manifest()) // after it, the others would have been written too
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		for _, w := range others {
			o, err := l.service(ctx, w.name)
			Expect(err).NotTo(HaveOccurred())
			Expect(o.Metadata.ResourceVersion).To(Equal(before[w.name]), w.name)
		}
	})

	It("that stops to be a load balancer loses what was written to it, and may come back", func(ctx SpecContext) {
		a := ours("a", 80)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		l.apply(ctx, web{name: "a", port: 80, lines: []string{"type: ClusterIP"}}.manifest())
		l.expectService(ctx, "a", finalizersOf, BeEmpty())
		o, err := l.service(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(o.Status.Conditions).To(BeEmpty())
		Expect(o.address()).To(BeEmpty())
		Expect(o.Metadata.Annotations).NotTo(HaveKey("weir-lb.io/served"))
		l.expectServed(ctx)
		l.apply(ctx, a.manifest())
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
	})

	It("that goes over to another class is left to it", func(ctx SpecContext) {
		l.remove("a")
		l.apply(ctx, ours("a", 80).manifest())
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		l.apply(ctx, web{name: "a", port: 80, lines: []string{"type: NodePort"}}.manifest())
		l.apply(ctx, web{name: "a", port: 80, lines: []string{"type: LoadBalancer", "loadBalancerClass: example.com/lb"}}.manifest())
		l.expectService(ctx, "a", finalizersOf, BeEmpty())
		l.expectService(ctx, "a", addressOf, BeEmpty())
	})

	It("that others write to at the same time keeps what they wrote, and gets its own", func(ctx SpecContext) {
		l.remove("a")
		l.apply(ctx, ours("a", 80).manifest())
		// A writer that never rests, while the controller has something to write.
		writing, stop := context.WithCancel(ctx)
		defer stop()
		last := make(chan int, 1)
		go func() {
			defer GinkgoRecover()
			n := 0
			for writing.Err() == nil && n < 200 {
				n++
				Expect(l.kube.patch(ctx, servicePath("a"), fmt.Sprintf(`{"metadata":{"annotations":{"example.com/n":"%d"}}}`, n))).To(Succeed())
			}
			last <- n
		}()
		l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		stop()
		var n int
		Eventually(last).WithTimeout(harness.Patience).Should(Receive(&n))
		o, err := l.service(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(o.Metadata.Annotations).To(HaveKeyWithValue("example.com/n", fmt.Sprint(n)))
		Expect(o.Metadata.Annotations).To(HaveKey("weir-lb.io/served"))
		Expect(slices.Contains(o.Metadata.Finalizers, "service.kubernetes.io/load-balancer-cleanup")).To(BeTrue())
	})

	DescribeTable("that cannot be served says so, and all others work on",
		func(ctx SpecContext, bad web, condition, want string) {
			good := ours("good", 8000)
			l.remove("good", bad.name)
			l.apply(ctx, good.manifest(), good.on("pod1"))
			l.expectServed(ctx, "203.0.113.1:8000/tcp pod1")
			l.apply(ctx, bad.manifest())
			l.expectService(ctx, bad.name, conditionOf(condition), Equal("False/"+want))
			harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.reasons(ctx, bad.name) }).Should(ContainElement("Warning " + want))
			l.apply(ctx, good.on("pod2"))
			for _, lb := range []string{"lb1", "lb2"} {
				harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, lb) }).
					Should(ContainElement("203.0.113.1:8000/tcp pod2"))
			}
		},
		Entry("no endpoints", ours("bad1", 81), "Reachable", "NoReadyEndpoints"),
		Entry("an unknown pool", ours("bad2", 81).noted("loxilb.io/poolSelect: nowhere"), "Allocated", "NoSuchPool"),
		Entry("an address in use", ours("bad3", 8000).with("loadBalancerIP: 203.0.113.1"), "Allocated", "AddressInUse"),
		Entry("an IPv6 address for a Service of IPv4", ours("bad6", 81).with("loadBalancerIP: '2001:db8:113::7'"), "Accepted", "InvalidAddress"),
		Entry("an address outside every pool", ours("bad4", 81).with("loadBalancerIP: 192.0.2.77"), "Allocated", "AddressOutsidePools"),
		Entry("an address of a node", ours("bad7", 81).with("loadBalancerIP: 198.51.100.42"), "Allocated", "AddressOfNode"),
		Entry("an unknown value of an annotation", ours("bad5", 81).noted("loxilb.io/lbmode: fulnat"), "Accepted", "UnknownMode"),
	)

	It("waits for an address when the pool is exhausted, and gets the first that is free", func(ctx SpecContext) {
		for i := range 4 {
			l.remove(fmt.Sprintf("s%d", i))
		}
		for i := range 3 {
			l.apply(ctx, ours(fmt.Sprintf("s%d", i), 80).manifest())
			l.expectService(ctx, fmt.Sprintf("s%d", i), addressOf, Equal(fmt.Sprintf("203.0.113.%d", i+1)))
		}
		l.apply(ctx, ours("s3", 80).manifest())
		l.expectService(ctx, "s3", conditionOf("Allocated"), Equal("False/PoolExhausted"))
		Expect(l.kube.delete(ctx, servicePath("s1"))).To(Succeed())
		l.expectService(ctx, "s3", addressOf, Equal("203.0.113.2"))
	})
})
