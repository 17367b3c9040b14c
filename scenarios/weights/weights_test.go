package weights

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	requests = 1000
	parallel = 64
	// tolerance of a share, as a part of it.
	tolerance = 0.05
)

// backends of three-backends.yaml with their weights.
var (
	addresses = []netip.Addr{
		netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.65"), netip.MustParseAddr("198.51.100.129"),
	}
	wanted = []uint16{1, 2, 5}
	equal  = []uint16{1, 1, 1}
)

var _ = Describe("Weights 1:2:5", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.UpPage(ctx, "three-backends.yaml", harness.Options{Hook: hook, Unrecorded: true})
			})
			for _, protocol := range onelb.Protocols {
				It(fmt.Sprintf("are the shares of the backends: %s", protocol), func(ctx SpecContext) {
					program(ctx, lab, protocol, wanted)
					harness.Step("the client asks often", func() { Expect(unfair(ask(ctx, lab, protocol))).To(BeEmpty()) })
				})
			}
			It("control: with equal weights the same look finds other shares", func(ctx SpecContext) {
				program(ctx, lab, v1.UDP, equal)
				harness.Step("the client asks often", func() { Expect(unfair(ask(ctx, lab, v1.UDP))).NotTo(BeEmpty()) })
			})
		})
	}
})

func program(ctx context.Context, lab *onelb.Lab, p v1.Protocol, weights []uint16) {
	GinkgoHelper()
	s := onelb.Service(v1.ModeFullNAT, p)
	for i, a := range addresses {
		at := onelb.Server(a, p)
		s.Backends = append(s.Backends, v1.Backend{Address: at.Addr(), Port: at.Port(), Weight: weights[i]})
	}
	lab.Program(ctx, "lb", s)
}

// ask makes each request a flow of its own: a source port that came again would
// meet the flow that its last user left.
func ask(ctx context.Context, lab *onelb.Lab, p v1.Protocol) probe.Result {
	GinkgoHelper()
	result := lab.Requests.Burst(ctx, requests, parallel, func(i int) probe.Request {
		r := onelb.Request(v1.ModeFullNAT, p)
		r.Source, r.Timeout = netip.AddrPortFrom(onelb.Client, nextPort+uint16(i)), 15*time.Second
		return r
	})
	nextPort += requests
	Expect(result.Lost()).To(BeZero(), result.String())
	AddReportEntry("shares", result.String(), ReportEntryVisibilityFailureOrVerbose)
	return result
}

// nextPort is below the ports that the kernel chooses.
var nextPort uint16 = 10000

// unfair says whose share is not that of its weight.
func unfair(r probe.Result) string {
	var sum uint16
	for _, w := range wanted {
		sum += w
	}
	for i, w := range wanted {
		name := fmt.Sprintf("backend%d", i+1)
		want := float64(w) / float64(sum)
		if got := r.Share(name); math.Abs(got-want) > tolerance*want {
			return fmt.Sprintf("%s gave %.1f %% of the answers, want %.1f %%\n%s", name, 100*got, 100*want, r)
		}
	}
	return ""
}
