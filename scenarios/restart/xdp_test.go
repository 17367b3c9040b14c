package restart

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

var _ = Describe("weir with native XDP", Ordered, func() {
	It("is restarted and killed, and no flow and no route notices", func(ctx SpecContext) {
		l := lab.Up(ctx, harness.Options{Unrecorded: true, Hook: "xdp"})
		standing := open(ctx, l, 50, 20, 5)
		routes := watchRoutes(ctx, l)
		moments := randomMoments()
		for i := range 10 {
			moments.restart(ctx, l, "master1", i%2 == 0, upTo(time.Second))
		}
		expectConfirmed(ctx, l)
		requests, lost := standing.lost()
		Expect(few(lost)).To(BeEmpty())
		Expect(requests).To(BeNumerically(">", len(standing.all)))
		Expect(routes.changes()).To(BeEmpty())
	})
})
