package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
	"github.com/weir-lb/weir/topo/spec"
)

// What holds without flags (weir --help), and what the flags say here.
const (
	defaultPeriod, defaultTimeout = 5 * time.Second, time.Second

	toldPeriod, toldTimeout, toldRetries = 500 * time.Millisecond, 200 * time.Millisecond, 5 // 2 by default
	// toldLeaves bounds how long a dead backend stays.
	toldLeaves = toldPeriod + (toldRetries+1)*toldTimeout + toldRetries*toldTimeout/2
)

// byFlags has weir use interfaces of some names only, of which one of the load
// balancer's has none, and probe as told.
func byFlags(p *spec.Page) {
	lb := p.Nodes["lb"]
	lb.Processes[0].Command += fmt.Sprintf(" --whitelist=^eth --probe-period=%s --probe-timeout=%s --probe-retries=%d",
		toldPeriod, toldTimeout, toldRetries)
	p.Links = append(p.Links, spec.Link{Endpoints: []spec.Endpoint{{Node: "lb", Interface: "wan1"}, {Node: "client", Interface: "wan1"}}})
}

var _ = Describe("Flags of weir", func() {
	It("say which interfaces it uses, and how it probes backends of services that do not", func(ctx SpecContext) {
		l := &lab{Lab: onelb.Up(ctx, harness.Options{Hook: "tc", Change: byFlags})}
		harness.Step("--whitelist leaves all others alone", func() {
			o, err := l.Weir("lb").Observed(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(o.Interfaces).To(ContainElement(And(HaveField("Name", "wan1"), HaveField("Hook", "none"),
				HaveField("Reason", "left alone: does not match --whitelist ^eth"))))
		})
		silent := tcp.service()
		silent.Probe = v1.ProbeSpec{}
		l.Program(ctx, "lb", silent)
		l.expectStates(ctx, harness.Patience, []frontend{tcp}, v1.BackendActive)
		ofBackend1 := func(flags string) func(capture.Frame) bool {
			return capture.Where(func(p packet.Packet) bool {
				return p.Src.Addr() == onelb.Backend1 && p.Src.Port() == tcp.backend && strings.HasPrefix(p.Flags, flags)
			})
		}
		harness.Step("--probe-period is between two probes", func() {
			const probes = 4
			taken := l.Headers("backend1:eth1", ofBackend1("SYN"))
			harness.Soon(ctx, func() int { return len(taken.Frames()) }).Should(BeNumerically(">=", probes))
			Expect(shortest(taken.Frames())).To(BeNumerically("<", defaultPeriod*9/10))
		})
		harness.Step("--probe-retries are forgiven, half of --probe-timeout after each other", func() {
			refused := l.Headers("backend1:eth1", ofBackend1("RST"))
			Expect(l.Node("backend1").Process("serve").Kill(ctx)).To(Succeed())
			l.expectStates(ctx, toldLeaves+slack, []frontend{tcp}, v1.BackendInactive)
			since := l.since(ctx)
			var failures []capture.Frame
			for _, f := range refused.Frames() {
				if f.Time.Before(since) {
					failures = append(failures, f)
				}
			}
			Expect(failures).To(HaveLen(toldRetries + 1))
			Expect(shortest(failures)).To(And(BeNumerically(">=", toldTimeout/2), BeNumerically("<", defaultTimeout/2)))
		})
	})
})

// shortest is the least time between two frames.
func shortest(frames []capture.Frame) time.Duration {
	least := time.Duration(1<<63 - 1)
	for i := 1; i < len(frames); i++ {
		least = min(least, frames[i].Time.Sub(frames[i-1].Time))
	}
	return least
}

// since is when backend1 became what it is.
func (l *lab) since(ctx context.Context) time.Time {
	GinkgoHelper()
	backends, err := l.Weir("lb").Backends(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, b := range backends {
		if b.Address == onelb.Backend1 {
			return b.Probe.Since
		}
	}
	Fail("weir knows no backend1")
	return time.Time{}
}
