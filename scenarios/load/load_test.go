package load

import (
	"context"
	"fmt"
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
	// timeout of a request: a lost packet that is sent again costs a second or
	// more, and the counters tell of it.
	timeout = 15 * time.Second
)

var _ = Describe("Load", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.Up(ctx, harness.Options{Hook: hook, Unrecorded: true})
			})
			It("control: without the services all are lost", func(ctx SpecContext) {
				for _, protocol := range onelb.Protocols {
					harness.Step("the client asks by "+string(protocol), func() {
						r := onelb.Request(v1.ModeFullNAT, protocol)
						r.Timeout = 300 * time.Millisecond
						result := lab.Requests.Spread(ctx, r, parallel, parallel)
						Expect(result.Lost()).To(Equal(parallel), result.String())
					})
				}
			})
			for _, protocol := range []probe.Protocol{probe.TCP, probe.UDP, probe.SCTP, probe.HTTP} {
				It(fmt.Sprintf("of %d %s requests, %d at a time, loses none", requests, protocol, parallel), func(ctx SpecContext) {
					r := probe.Request{Protocol: protocol, Target: program(ctx, lab, protocol), Timeout: timeout}
					harness.Step("the client asks", func() {
						result := lab.Requests.Spread(ctx, r, requests, parallel)
						Expect(result.Lost()).To(BeZero(), result.String())
						Expect(result.Backends).To(HaveLen(2), "both backends answer")
						AddReportEntry("result", result.String(), ReportEntryVisibilityFailureOrVerbose)
					})
				})
			}
		})
	}
})

// program leads a frontend to where both backends serve the protocol.
func program(ctx context.Context, lab *onelb.Lab, p probe.Protocol) netip.AddrPort {
	GinkgoHelper()
	if p != probe.HTTP {
		lab.Program(ctx, "lb", onelb.Services(onelb.Backend1, onelb.Backend2)...)
		return onelb.Frontend(v1.ModeFullNAT, v1.Protocol(p))
	}
	lab.Program(ctx, "lb", onelb.Service(v1.ModeFullNAT, v1.TCP,
		netip.AddrPortFrom(onelb.Backend1, 80), netip.AddrPortFrom(onelb.Backend2, 80)))
	return onelb.Frontend(v1.ModeFullNAT, v1.TCP)
}
