package flood

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	// entries are the smallest flow table that weir takes; a connection has two.
	entries = 4096
	room    = entries / 2
	// alarmed connections take a bit more than the 75 % at which the alarm comes.
	alarmed = room * 78 / 100
	// excess connections come when there is room for no more.
	excess = 32
	// noRoom is how long a connection that finds no room is waited for: the
	// server's greeting never comes.
	noRoom = 3 * time.Second
)

var _ = Describe("A flow table that fills up", Ordered, func() {
	var (
		lab      *onelb.Lab
		standing []*probe.Session
	)
	request := onelb.Request(v1.ModeFullNAT, v1.TCP)
	BeforeAll(func(ctx SpecContext) {
		lab = onelb.Up(ctx, upTo("tc", entries))
		lab.Program(ctx, "lb", onelb.Service(v1.ModeFullNAT, v1.TCP, onelb.Server(onelb.Backend1, v1.TCP)))
	})

	It("raises an alarm long before its end", func(ctx SpecContext) {
		Expect(spaceConditions(ctx, lab)).To(BeEmpty(), "conditions of an empty table")
		harness.Step("three quarters fill", func() {
			standing = open(ctx, lab, request, alarmed)
		})
		harness.Step("the condition stands after the next sweep", func() {
			harness.Soon(ctx, func(ctx context.Context) ([]v1.Condition, error) { return spaceConditions(ctx, lab) }).
				Should(ConsistOf(And(HaveField("Status", false), HaveField("Message", ContainSubstring("raise --max-flows")))))
			Expect(drop(ctx, lab, "flows_full")).To(BeZero(), "nothing was dropped so far")
		})
	})

	It("keeps what stands when it is full, and drops and counts what is new", func(ctx SpecContext) {
		var failures []error
		harness.Step("more connections come than there is room for", func() {
			r := request
			r.Timeout = noRoom
			var more []*probe.Session
			more, failures = tryOpen(ctx, lab, r, room-alarmed+excess)
			standing = append(standing, more...)
			Expect(len(failures)).To(BeNumerically(">=", excess), "connections without room")
			Expect(len(standing)).To(BeNumerically(">", room*95/100), "connections that found room, of %d; first failure: %v", room, failures[0])
			Expect(drop(ctx, lab, "flows_full")).To(BeNumerically(">=", excess))
		})
		harness.Step("every connection that stands is still served", func() {
			for i, s := range standing {
				_, err := s.Ask(ctx)
				Expect(err).NotTo(HaveOccurred(), "connection %d of %d", i, len(standing))
			}
		})
		AddReportEntry("full", fmt.Sprintf("%d connections stand, %d found no room", len(standing), len(failures)))
	})

	AfterAll(func(ctx SpecContext) {
		for _, s := range standing {
			Expect(s.Close(ctx)).To(Succeed())
		}
	})
})

// tryOpen opens connections, all at once, some of which fail.
func tryOpen(ctx context.Context, l *onelb.Lab, r probe.Request, n int) (opened []*probe.Session, failures []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			s, err := l.Requests.Open(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				return
			}
			opened = append(opened, s)
		})
	}
	all.Wait()
	return opened, failures
}

// spaceConditions are those of the node that speak of the flow table.
func spaceConditions(ctx context.Context, l *onelb.Lab) ([]v1.Condition, error) {
	o, err := l.Weir("lb").Observed(ctx)
	var found []v1.Condition
	for _, c := range o.Conditions {
		if c.Type == v1.ConditionFlowSpace {
			found = append(found, c)
		}
	}
	return found, err
}

// drop is the count of a reason.
func drop(ctx context.Context, l *onelb.Lab, reason string) uint64 {
	GinkgoHelper()
	for _, d := range counters(ctx, l).Drops {
		if d.Reason == reason {
			return d.Count
		}
	}
	return 0
}
