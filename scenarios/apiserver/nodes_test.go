package apiserver

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
)

var _ = Describe("A load balancer node", Ordered, func() {
	var l *lab
	a := ours("a", 80)
	BeforeAll(func(ctx SpecContext) {
		l = up(ctx)
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
	})
	active := func(ctx context.Context) (string, error) {
		s, err := l.controllers["ctl1"].Controller(ctx)
		var names []string
		for _, n := range s.Nodes {
			if n.Active {
				names = append(names, n.Name)
			}
		}
		return strings.Join(names, " "), err
	}

	It("whose pod is replaced keeps what it has, and its addresses", func(ctx SpecContext) {
		harness.Soon(ctx, active).Should(Equal("lb1"))
		l.apply(ctx, slice("kube-system", "weir-lb", 11111, "198.51.100.12@lb2"))
		// The controller has heard of it when it has heard of what came after.
		l.apply(ctx, a.on("pod2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2")
		harness.Holds(ctx, looked, active).Should(Equal("lb1"))
		Expect(l.served(ctx, "lb1")).To(HaveExactElements("203.0.113.1:80/tcp pod2"))
		l.apply(ctx, instances)
	})

	It("that is drained hands its addresses on, and takes none back when it may", func(ctx SpecContext) {
		cordon := func(yes string) {
			Expect(l.kube.patch(ctx, "/api/v1/nodes/lb1", `{"spec": {"unschedulable": `+yes+`}}`)).To(Succeed())
		}
		cordon("true")
		harness.Soon(ctx, active).Should(Equal("lb2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2") // the one that is drained, too: flows that stand go on
		cordon("false")
		harness.Holds(ctx, looked, active).Should(Equal("lb2"))
	})

	It("is none by the word of a tenant", func(ctx SpecContext) {
		l.apply(ctx, slice("default", "weir-lb", 11111, podAddresses["pod1"]+"@pod1"), slice("default", "weir-peer", 11111, podAddresses["pod2"]+"@pod2"))
		DeferCleanup(func(ctx context.Context) {
			for _, name := range []string{"weir-lb-x", "weir-peer-x"} {
				Expect(l.kube.delete(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/"+name)).To(Succeed())
			}
		})
		// The controller has heard of them when it has heard of what came after.
		l.apply(ctx, a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		s, err := l.controllers["ctl1"].Controller(ctx)
		Expect(err).NotTo(HaveOccurred())
		var names []string
		for _, n := range s.Nodes {
			names = append(names, n.Name)
		}
		Expect(names).To(ConsistOf("lb1", "lb2", "peer"))
	})

	It("that has left is told so at once where the machine is gone", func(ctx SpecContext) {
		Expect(l.kube.delete(ctx, "/api/v1/nodes/lb1")).To(Succeed())
		l.apply(ctx, slice("kube-system", "weir-lb", 11111, "198.51.100.12@lb2"))
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, "lb1") }).Should(BeEmpty())
	})
})
