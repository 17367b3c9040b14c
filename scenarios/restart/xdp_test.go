package restart

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

var _ = Describe("weir with native XDP", Ordered, func() {
	It("is restarted and killed, then another version takes over and gives back: no flow and no route notices", func(ctx SpecContext) {
		other := build(ctx, "v-other", anotherProgram)
		l := lab.UpPairs(ctx, harness.Options{Unrecorded: true, Hook: "xdp"})
		standing := open(ctx, l, tcpFlows, udpFlows, sctpFlows)
		routes := watchRoutes(ctx, l)
		harness.Step("weir is restarted, half of the times by SIGKILL", func() {
			randomMoments().restarts(ctx, l, restarts, upTo(time.Second))
		})
		harness.Step("another version is swapped in", func() {
			Expect(tagsAt(l, "master1", "eth1")).To(HaveKey("xdp"))
			expectSwaps(ctx, l, other)
		})
		harness.Step("nothing was lost", func() { expectNothingLost(ctx, standing, routes) })
	})
})
