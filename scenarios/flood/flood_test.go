package flood

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/spec"
)

const (
	// floodSYNs come from as many forged sources. Their two entries each are eight
	// times what established flows have room for, and 32 times what half-open ones have.
	floodSYNs = 1_000_000
	maxFlows  = 1 << 18
	// halfOpenRoom is a quarter more of --max-flows.
	halfOpenRoom = maxFlows / 4
	// served is the least share of new connections that come about in the flood.
	served = 0.99
	// emptied is the time-out of a half-open flow, 30 s, and a sweep's 10 s, with
	// as much again for a machine that has other things to do.
	emptied = 80 * time.Second
)

// flooded is a page under the flood, at one hook and in one mode.
type flooded struct {
	hook string
	mode v1.Mode

	lab   *onelb.Lab
	syns  *syns
	ended time.Time
}

// In fullnat the backend cannot tell who sends SYNs, and answers all of them.
var _ = Describe("A flood of a million SYNs", Ordered, func() {
	xdp, tc := &flooded{hook: "xdp", mode: v1.ModeDefault}, &flooded{hook: "tc", mode: v1.ModeFullNAT}
	BeforeAll(func(ctx SpecContext) {
		for _, f := range []*flooded{xdp, tc} {
			f.lab = onelb.Up(ctx, upTo(f.hook, maxFlows))
			f.lab.Program(ctx, "lb", onelb.Service(f.mode, v1.TCP, onelb.Server(onelb.Backend1, v1.TCP)))
			f.syns = newSYNs(ctx, f.lab, onelb.Frontend(f.mode, v1.TCP))
		}
	})

	// The second comes while the first one's flows age.
	for _, f := range []*flooded{xdp, tc} {
		It(fmt.Sprintf("breaks no transfer and keeps no client out: %s, %s", f.hook, f.mode), f.expectService)
		It(fmt.Sprintf("has left nothing among established flows: %s, %s", f.hook, f.mode), f.expectHalfOpen)
	}
	It("is forgotten after the time-out of half-open flows", xdp.expectForgotten)
})

func (f *flooded) expectService(ctx SpecContext) {
	var clients *clients
	before := counters(ctx, f.lab)
	harness.Step("100 transfers run, and new connections come all the time", func() {
		clients = work(ctx, f.lab, onelb.Request(f.mode, v1.TCP))
	})
	harness.Step("the flood comes", func() {
		start := time.Now()
		Expect(f.syns.send(ctx, floodSYNs)).To(Succeed())
		f.ended = time.Now()
		AddReportEntry("flood", fmt.Sprintf("%d SYNs in %s", f.syns.sent, f.ended.Sub(start).Round(time.Millisecond)))
	})
	harness.Step("all transfers are complete, and the clients were served", func() {
		clients.end()
		AddReportEntry("clients", clients.String())
		Expect(clients.broken).To(BeEmpty(), clients.String())
		Expect(clients.opened).To(BeNumerically(">", 100), clients.String())
		Expect(float64(len(clients.refused))).To(BeNumerically("<=", (1-served)*float64(clients.opened)), clients.String())
	})
	harness.Step("weir has seen the flood, answers too, and every packet is counted", func() {
		after := counters(ctx, f.lab)
		AddReportEntry("counters", fmt.Sprintf("%+v", after))
		Expect(after.In-before.In).To(BeNumerically(">", floodSYNs), "packets that came in")
		Expect(balance(after)).To(BeZero(), "%+v", after)
	})
}

func (f *flooded) expectHalfOpen(ctx SpecContext) {
	halfOpen, forgedFlows, others := census(ctx, f.lab)
	AddReportEntry("flows", fmt.Sprintf("%d half-open, %d established or closing", halfOpen, others))
	Expect(halfOpen).To(And(BeNumerically(">", halfOpenRoom/2), BeNumerically("<=", halfOpenRoom)), "entries of half-open flows")
	Expect(forgedFlows).To(BeEmpty(), "forged flows that are not half-open")
	Expect(others).To(BeNumerically(">=", 2*transfers), "flows of clients")
}

func (f *flooded) expectForgotten(ctx SpecContext) {
	Eventually(ctx, func(ctx context.Context) (uint64, error) {
		all, err := f.lab.Weir("lb").Backends(ctx)
		if err != nil || len(all) != 1 {
			return 0, fmt.Errorf("%d backends: %w", len(all), err)
		}
		return all[0].Flows, nil
	}).WithTimeout(emptied - time.Since(f.ended)).WithPolling(time.Second).Should(BeNumerically("<", halfOpenRoom/20))
	harness.Soon(ctx, func(ctx context.Context) int {
		halfOpen, _, _ := census(ctx, f.lab)
		return halfOpen
	}).Should(BeZero(), "half-open flows")
}

// census counts flows of both tables: entries that are half-open, sources of
// forged ones that are not, and the others.
func census(ctx context.Context, l *onelb.Lab) (halfOpen int, forgedFlows []string, others int) {
	GinkgoHelper()
	all, err := l.Weir("lb").Flows(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, f := range all {
		switch {
		case f.State == "half-open":
			halfOpen++
		case forged.Contains(f.Source.Addr()) || forged.Contains(f.NewDestination.Addr()):
			forgedFlows = append(forgedFlows, fmt.Sprintf("%+v", f))
		default:
			others++
		}
	}
	return halfOpen, forgedFlows, others
}

// upTo is the page at a hook with so many entries for established flows.
func upTo(hook string, flows int) harness.Options {
	return harness.Options{Hook: hook, Unrecorded: true, Change: func(p *spec.Page) {
		p.Nodes["lb"].Processes[0].Command += fmt.Sprintf(" --max-flows=%d", flows)
	}}
}

// counters returns weir's totals.
func counters(ctx context.Context, l *onelb.Lab) v1.Counters {
	GinkgoHelper()
	c, err := l.Weir("lb").Counters(ctx)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// balance is how many of the packets that came in are counted nowhere else. It is
// zero while no packets come.
func balance(c v1.Counters) int64 {
	out := c.Forwarded + c.Passed
	for _, d := range c.Drops {
		out += d.Count
	}
	return int64(c.In - out)
}
