package failover

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

const (
	// holdTime is the page's --bgpHoldTime: after so long without a message a
	// speaker takes its peer for dead.
	holdTime = 3 * time.Second
	// margin is for what follows: the withdrawal, the kernels' routes, the next
	// try of a request, on two busy cores.
	margin = 1500 * time.Millisecond
	// timeout is that of one request, pause lies between two that fail at once.
	timeout = 250 * time.Millisecond
	pause   = 50 * time.Millisecond
)

var _ = Describe("When the active master is cut off", Ordered, func() {
	var l *lab.Lab
	var open []*standing
	BeforeAll(func(ctx SpecContext) {
		l = lab.UpPairs(ctx, harness.Options{Change: byHash})
		open = connect(ctx, l)
	})

	It("new connections over TCP, UDP and SCTP work again within the hold time", func(ctx SpecContext) {
		expectFailover(ctx, l)
	})
	It("connections that stood go on by the standby, each at its backend, where backends are chosen by hash", func(ctx SpecContext) {
		Expect(asked(ctx, open)).To(BeEmpty())
		for _, s := range open {
			harness.Soon(ctx, l.Weir("master2").Flows).Should(ContainElement(And(HaveField("NewSource", s.seen), HaveField("State", "established"))))
		}
	})
	It("and is back, all routes return to it and requests work", func(ctx SpecContext) {
		l.Mend("master1")
		l.ExpectConverged(ctx, lab.Master1)
		l.ExpectAnswers(ctx, lab.Services...)
		Expect(asked(ctx, open)).To(BeEmpty())
	})
	It("without a controller the same is true: it is not needed", func(ctx SpecContext) {
		harness.Step("kube-weir dies, and nothing changes", func() {
			Expect(l.Node("worker2").Process("kube-weir").Kill(ctx)).To(Succeed())
			harness.Holds(ctx, time.Second, func(ctx context.Context) string { return l.Ask(ctx, time.Second, lab.Services...) }).
				Should(BeEmpty())
			l.ExpectRoutes(ctx, lab.Master1)
		})
		expectFailover(ctx, l)
		harness.Step("the master comes back by itself", func() {
			l.Mend("master1")
			l.ExpectConverged(ctx, lab.Master1)
			l.ExpectAnswers(ctx, lab.Services...)
		})
		harness.Step("so does the controller, and changes nothing", func() {
			Expect(l.Node("worker2").Process("kube-weir").Start(ctx)).To(Succeed())
			harness.Holds(ctx, time.Second, func(ctx context.Context) string { return l.Ask(ctx, time.Second, lab.Services...) }).
				Should(BeEmpty())
			l.ExpectConverged(ctx, lab.Master1)
		})
	})
	It("control: with both masters cut off, the same look finds that nothing works again", func(ctx SpecContext) {
		for _, m := range lab.Masters {
			l.Cut(m)
		}
		cut := time.Now()
		for _, o := range outages(ctx, l, cut) {
			Expect(o).To(HaveField("Over", false))
		}
	})
})

// expectFailover cuts master1 off and expects master2 to serve in time.
func expectFailover(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	before := l.Counters(ctx, "master2").Forwarded
	harness.Step("both links of master1 are cut", func() {
		l.Cut("master1")
		for _, o := range outages(ctx, l, time.Now()) {
			AddReportEntry("outage", o, ReportEntryVisibilityNever)
			Expect(o.Over).To(BeTrue(), "%s", o)
		}
	})
	harness.Step("master2 serves, and all routes lead to it", func() {
		l.ExpectRoutes(ctx, lab.Master2)
		Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
		Expect(l.Counters(ctx, "master2").Forwarded).To(BeNumerically(">", before))
	})
}

// outage is how long a service did not answer.
type outage struct {
	Service lab.Service
	Over    bool // it answered again within hold time and margin
	Lasted  time.Duration
	Last    string // what the last request ran into
}

func (o outage) String() string {
	if o.Over {
		return fmt.Sprintf("%s answered again after %s", o.Service.Name, o.Lasted.Round(time.Millisecond))
	}
	return fmt.Sprintf("%s did not answer within %s: %s", o.Service.Name, holdTime+margin, o.Last)
}

// outages asks every service, over and over, until it answers or the time is
// up. A request that began before the cut is not among them.
func outages(ctx context.Context, l *lab.Lab, cut time.Time) []outage {
	ctx, cancel := context.WithDeadline(ctx, cut.Add(holdTime+margin))
	defer cancel()
	all := make([]outage, len(lab.Services))
	var wg sync.WaitGroup
	for i, s := range lab.Services {
		wg.Go(func() {
			all[i] = untilAnswered(ctx, l, s, cut)
		})
	}
	wg.Wait()
	return all
}

func untilAnswered(ctx context.Context, l *lab.Lab, s lab.Service, cut time.Time) outage {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for o := (outage{Service: s}); ; {
		wrong := l.Ask(ctx, timeout, s)
		if wrong == "" {
			o.Over, o.Lasted = true, time.Since(cut)
			return o
		}
		if ctx.Err() != nil {
			return o // what ran into the end says less than the one before
		}
		o.Last = wrong
		select {
		case <-ctx.Done():
			return o
		case <-tick.C:
		}
	}
}
