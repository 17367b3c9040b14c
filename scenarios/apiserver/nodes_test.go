package apiserver

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
)

// addresses of what runs weir.
var addresses = map[string]string{"lb1": "198.51.100.11", "lb2": "198.51.100.12", "peer": "198.51.100.31"}

var _ = Describe("A load balancer node", Ordered, func() {
	var l *lab
	a := ours("a", 80)
	BeforeAll(func(ctx SpecContext) {
		l = upWith(ctx, map[string]string{"speaker": "--bgp", "mesh": "--setBGP=64512"})
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
		told := func(ctx context.Context) (bool, error) {
			states, err := l.Weir("lb1").States(ctx)
			return states["controller"].Drained, err
		}
		cordon("true")
		harness.Soon(ctx, active).Should(Equal("lb2"))
		harness.Soon(ctx, told).Should(BeTrue(), "that its end is a stop")
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2") // the one that is drained, too: flows that stand go on
		cordon("false")
		harness.Soon(ctx, told).Should(BeFalse())
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

	// neighbours are the other instances that have one for a neighbour.
	neighbours := func(of string) func(context.Context) ([]string, error) {
		return func(ctx context.Context) (names []string, err error) {
			for _, name := range slices.DeleteFunc(slices.Sorted(maps.Keys(addresses)), func(name string) bool { return name == of }) {
				status, err := l.Weir(name).BGP(ctx)
				if err != nil {
					return nil, err
				}
				// There is none where a node has left.
				if status != nil && slices.ContainsFunc(status.Peers, func(p v1.PeerStatus) bool { return p.Address.String() == addresses[of] }) {
					names = append(names, name)
				}
			}
			return names, nil
		}
	}

	DescribeTable("is a neighbour of all others within 2 s of its start, and of none within 2 s of its machine's end", func(ctx SpecContext, name, service string) {
		home, beside := "weir-peer", []string{}
		if name == "lb2" {
			home, beside = "weir-lb", []string{addresses["lb1"] + "@lb1"}
		}
		others := slices.DeleteFunc(slices.Sorted(maps.Keys(addresses)), func(o string) bool { return o == name })
		at := addresses[name] + "@" + name
		away := func() {
			l.apply(ctx, slice("kube-system", home, 11111, beside...), slice("kube-system", service, 11111))
		}
		runs := func() { l.apply(ctx, slice("kube-system", service, 11111, at)) }
		if service == home {
			away = func() { l.apply(ctx, slice("kube-system", home, 11111, beside...)) }
			runs = func() { l.apply(ctx, slice("kube-system", home, 11111, append(beside, at)...)) }
		}
		end := func() { Expect(l.kube.delete(ctx, "/api/v1/nodes/"+name)).To(Succeed()) }
		follow := func() AsyncAssertion {
			return Eventually(ctx, neighbours(name)).WithTimeout(2 * time.Second).WithPolling(20 * time.Millisecond)
		}
		DeferCleanup(func(ctx context.Context) {
			if service != home {
				Expect(l.kube.delete(ctx, "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/"+service+"-x")).To(Succeed())
			}
			l.apply(ctx, machine(name, addresses[name]), instances)
		})

		By("its end, of the machine first")
		harness.Soon(ctx, neighbours(name)).Should(HaveExactElements(elements(others)...))
		end()
		away()
		follow().Should(BeEmpty())

		By("its start")
		l.apply(ctx, machine(name, addresses[name]))
		runs()
		follow().Should(HaveExactElements(elements(others)...))

		By("another pod on the same machine")
		away()
		harness.Holds(ctx, looked/2, neighbours(name)).Should(HaveExactElements(elements(others)...))
		runs()
		harness.Holds(ctx, looked/6, neighbours(name)).Should(HaveExactElements(elements(others)...))

		By("its end, of the pod first")
		away()
		end()
		follow().Should(BeEmpty())
	},
		Entry("as one of weir-lb", "lb2", "weir-lb"),
		Entry("as one of loxilb-lb-service", "lb2", "loxilb-lb-service"),
		Entry("as one of weir-peer", "peer", "weir-peer"),
		Entry("as one of loxilb-peer-service", "peer", "loxilb-peer-service"),
	)

	It("that has left is told so at once where the machine is gone", func(ctx SpecContext) {
		Expect(l.kube.delete(ctx, "/api/v1/nodes/lb1")).To(Succeed())
		l.apply(ctx, slice("kube-system", "weir-lb", 11111, "198.51.100.12@lb2"))
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, "lb1") }).Should(BeEmpty())
	})
})
