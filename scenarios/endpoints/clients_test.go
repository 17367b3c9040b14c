package endpoints

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// with is the service of a protocol with one more line in its spec.
func with(p probe.Protocol, line string) cluster.Service {
	s := cluster.Of(p)
	s.Extra = []string{line}
	return s
}

var _ = Describe("Clients", Ordered, func() {
	var l *cluster.Lab
	BeforeAll(func(ctx SpecContext) { l = cluster.Up(ctx, harness.Options{}) })

	It("keep their endpoint with sessionAffinity, as long as it is one", func(ctx SpecContext) {
		const sticky = "sessionAffinity: ClientIP"
		deploy := func(pods ...string) {
			for _, p := range cluster.Protocols {
				l.Deploy(with(p, sticky), pods...)
			}
			for _, p := range cluster.Protocols {
				l.ExpectBackends(ctx, cluster.Of(p), pods...)
			}
		}
		deploy("pod1", "pod2")
		first := map[probe.Protocol]string{}
		harness.Step("all flows of a client go to one endpoint", func() {
			for _, p := range cluster.Protocols {
				first[p] = keeps(ctx, l, p)
			}
		})
		harness.Step("when that one goes, to the other", func() {
			for _, p := range cluster.Protocols {
				l.Deploy(with(p, sticky), other(first[p]))
			}
			for _, p := range cluster.Protocols {
				l.ExpectBackends(ctx, cluster.Of(p), other(first[p]))
				Expect(keeps(ctx, l, p)).To(Equal(other(first[p])), string(p))
			}
		})
		harness.Step("and stay there when it is back", func() {
			deploy("pod1", "pod2")
			for _, p := range cluster.Protocols {
				Expect(keeps(ctx, l, p)).To(Equal(other(first[p])), string(p))
			}
		})
		harness.Step("control: without affinity both get flows", func() {
			expectSpread(ctx, l, []string{"pod1", "pod2"}, HaveLen(2))
		})
	})

	It("outside loadBalancerSourceRanges are not served, and others are", func(ctx SpecContext) {
		const requests = 20
		before := drops(ctx, l, "source_range")
		harness.Step("a range that the client is not in", func() {
			for _, p := range cluster.Protocols {
				l.Deploy(with(p, "loadBalancerSourceRanges: [198.18.0.0/15, 192.0.2.128/25]"), "pod1")
			}
			for _, p := range cluster.Protocols {
				l.ExpectBackends(ctx, cluster.Of(p), "pod1")
				r := l.Requests.Burst(ctx, requests, requests, func(i int) probe.Request { return unused(p, i) })
				Expect(r.Lost()).To(Equal(requests), "%s: %s", p, r)
			}
			harness.Soon(ctx, func(ctx context.Context) uint64 { return drops(ctx, l, "source_range") - before }).
				Should(BeNumerically(">=", len(cluster.Protocols)*requests))
		})
		harness.Step("and one that it is in", func() {
			for _, p := range cluster.Protocols {
				l.Deploy(with(p, "loadBalancerSourceRanges: [198.18.0.0/15, 192.0.2.0/25]"), "pod1")
			}
			for _, p := range cluster.Protocols {
				harness.Soon(ctx, func(ctx context.Context) map[string]int { return spread(ctx, l, p) }).
					Should(Equal(map[string]int{"pod1": 8}), string(p))
			}
		})
	})
})

// keeps returns the one endpoint that answers new flows of the client.
func keeps(ctx context.Context, l *cluster.Lab, p probe.Protocol) string {
	GinkgoHelper()
	r := l.Requests.Spread(ctx, cluster.Of(p).Request(), 40, 8)
	Expect(r.Lost()).To(BeZero(), "%s: %s", p, r)
	Expect(r.Backends).To(HaveLen(1), "%s: %s", p, r)
	for pod := range r.Backends {
		return pod
	}
	return ""
}

func other(pod string) string { return map[string]string{"pod1": "pod2", "pod2": "pod1"}[pod] }
