package article

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

var _ = Describe("The article with the client two hops from the workers", Ordered, ContinueOnFailure, func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) {
		l = lab.UpPage(ctx, "article-two-hops", harness.Options{})
		for _, m := range lab.Masters {
			l.ExpectServing(ctx, m, lab.Services...)
		}
	})
	route := func(ctx context.Context, node string) AsyncAssertion {
		return harness.Soon(ctx, func(ctx context.Context) (string, error) {
			return l.Node(node).Run(ctx, "ip", "route", "show", lab.VIP.String())
		}).WithPolling(100 * time.Millisecond)
	}
	It("leads the client to the active master on their common network, workers on theirs", func(ctx SpecContext) {
		route(ctx, "client").Should(Equal("123.123.123.1 via 192.168.90.10 dev eth1 proto bird metric 32 \n"))
		for _, worker := range lab.Workers {
			route(ctx, worker).Should(Equal("123.123.123.1 via 192.168.80.10 dev eth1 proto bgp \n"))
		}
	})
	It("answers over TCP, UDP and SCTP, and the pods see the VIP", func(ctx SpecContext) {
		Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
	})
	It("loses none of 200 requests of each protocol", func(ctx SpecContext) {
		for _, s := range lab.Services {
			result := l.Requests.Spread(ctx, s.Request(), 200, 32)
			Expect(result.Lost()).To(BeZero(), "%s: %s", s.Name, result)
		}
	})
	It("control: without the services the route goes and requests fail", func(ctx SpecContext) {
		l.Withdraw(lab.Services...)
		l.ExpectRoutes(ctx, netip.Addr{})
		Expect(l.Ask(ctx, 300*time.Millisecond, lab.Services...)).NotTo(BeEmpty())
	})
})
