package endpoints

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// moved is how soon a UDP flow leaves an endpoint that has gone, counted from
// when new flows do.
const moved = 200 * time.Millisecond

// follow is how soon new flows go where a changed manifest says.
const follow = 2 * time.Second

var _ = Describe("Endpoints", Ordered, func() {
	var l *cluster.Lab
	BeforeAll(func(ctx SpecContext) {
		l = cluster.Up(ctx, harness.Options{})
		for _, p := range cluster.Protocols {
			l.Deploy(cluster.Of(p), "pod1")
		}
		for _, p := range cluster.Protocols {
			l.ExpectBackends(ctx, cluster.Of(p), "pod1")
		}
	})

	It("that are added get new flows, and flows that stand stay where they are", func(ctx SpecContext) {
		standing := openOn(ctx, l, "pod1")
		traffic := startTraffic(ctx, l)
		harness.Step("pod2 is added", func() {
			expectSpread(ctx, l, []string{"pod1", "pod2"}, HaveKey("pod2"))
		})
		harness.Step("both get their share", func() {
			for _, p := range cluster.Protocols {
				r := l.Requests.Spread(ctx, cluster.Of(p).Request(), 200, 16)
				Expect(r.Lost()).To(BeZero(), "%s: %s", p, r)
				Expect(r.Share("pod2")).To(BeNumerically("~", 0.5, 0.05), "%s: %s", p, r)
			}
		})
		harness.Step("flows of pod1 are where they were, and nothing was lost meanwhile", func() {
			standing.expect(ctx, "pod1")
			traffic.expectNoneLost()
		})
	})

	It("that are removed get no new flows, and flows of those that remain do not notice", func(ctx SpecContext) {
		standing := openOn(ctx, l, "pod2")
		traffic := startTraffic(ctx, l)
		harness.Step("pod1 is removed", func() {
			expectSpread(ctx, l, []string{"pod2"}, And(HaveLen(1), HaveKey("pod2")))
		})
		harness.Step("pod2's flows live, and nothing was lost meanwhile", func() {
			standing.expect(ctx, "pod2")
			traffic.expectNoneLost()
		})
	})

	It("that are replaced get no datagram more, and the next one of a flow goes to who is there now", func(ctx SpecContext) {
		standing := openOn(ctx, l, "pod2")
		harness.Step("pod1 takes the place of pod2", func() {
			traffic := startTraffic(ctx, l)
			expectSpread(ctx, l, []string{"pod1"}, And(HaveLen(1), HaveKey("pod1")))
			traffic.expectNoneLost()
		})
		harness.Step("within 200 ms the UDP flow is pod1's", func() {
			Eventually(ctx, func(ctx context.Context) (string, error) {
				a, err := standing[probe.UDP].Ask(ctx)
				return a.Backend, err
			}).WithTimeout(moved).WithPolling(10 * time.Millisecond).Should(Equal("pod1"))
		})
		harness.Step("connections stay where they were", func() {
			delete(standing, probe.UDP)
			standing.expect(ctx, "pod2")
		})
		harness.Step("pod2 is back alone", func() {
			expectSpread(ctx, l, []string{"pod2"}, And(HaveLen(1), HaveKey("pod2")))
		})
	})

	It("that are all gone have requests refused at once, counted under their reason, until one comes back", func(ctx SpecContext) {
		before := drops(ctx, l, "no_backend")
		const requests = 20
		harness.Step("pod2 is removed too", func() {
			for _, p := range cluster.Protocols {
				l.Deploy(cluster.Of(p))
			}
			for _, p := range cluster.Protocols {
				l.ExpectBackends(ctx, cluster.Of(p))
			}
			for _, p := range cluster.Protocols {
				harness.ExpectRefused(ctx, l.Requests, unused(p, requests))
			}
			for _, p := range cluster.Protocols {
				r := l.Requests.Burst(ctx, requests, requests, func(i int) probe.Request { return unused(p, i) })
				Expect(r.Lost()).To(Equal(requests), "%s: %s", p, r)
			}
		})
		harness.Step("each is counted as no_backend", func() {
			harness.Soon(ctx, func(ctx context.Context) uint64 { return drops(ctx, l, "no_backend") - before }).
				Should(BeNumerically(">=", len(cluster.Protocols)*requests))
		})
		harness.Step("pod1 comes back", func() {
			expectSpread(ctx, l, []string{"pod1"}, And(HaveLen(1), HaveKey("pod1")))
		})
	})

	It("control: with the pod's link cut, the same looks find the loss", func(ctx SpecContext) {
		standing := openOn(ctx, l, "pod1")
		cable := l.Node("worker1").Link("veth0")
		Expect(cable.Down()).To(Succeed())
		DeferCleanup(cable.Up) // before the flows are closed, which would wait
		lost := standing.lost(ctx, "pod1")
		for _, p := range cluster.Protocols {
			Expect(lost).To(ContainSubstring(string(p)))
			Expect(spread(ctx, l, p)).To(BeEmpty())
		}
	})
})

// expectSpread gives all services these pods, and expects what answers new
// flows to become so in time.
func expectSpread(ctx context.Context, l *cluster.Lab, pods []string, want OmegaMatcher) {
	GinkgoHelper()
	changed := time.Now()
	for _, p := range cluster.Protocols {
		l.Deploy(cluster.Of(p), pods...)
	}
	for _, p := range cluster.Protocols {
		Eventually(ctx, func(ctx context.Context) map[string]int { return spread(ctx, l, p) }).
			WithTimeout(follow-time.Since(changed)).WithPolling(50*time.Millisecond).Should(want, string(p))
	}
}

// spread counts which pods answer a few new flows.
func spread(ctx context.Context, l *cluster.Lab, p probe.Protocol) map[string]int {
	r := cluster.Of(p).Request()
	r.Timeout = 300 * time.Millisecond
	return l.Requests.Spread(ctx, r, 8, 8).Backends
}

// unused is a request from a port that the kernel gives to nobody: what comes
// from a port of before may belong to a flow that still stands.
func unused(p probe.Protocol, i int) probe.Request {
	r := cluster.Of(p).Request()
	r.Source = netip.AddrPortFrom(cluster.Client, uint16(20000+i))
	r.Timeout = 300 * time.Millisecond
	return r
}

func drops(ctx context.Context, l *cluster.Lab, reason string) uint64 {
	GinkgoHelper()
	c, err := l.Weir("lb").Counters(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, d := range c.Drops {
		if d.Reason == reason {
			return d.Count
		}
	}
	return 0
}

// sessions are open flows, one a protocol.
type sessions map[probe.Protocol]*probe.Session

// openOn opens a flow of each protocol that the pod serves.
func openOn(ctx context.Context, l *cluster.Lab, pod string) sessions {
	GinkgoHelper()
	all := sessions{}
	for _, p := range cluster.Protocols {
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			s, err := l.Requests.Open(ctx, cluster.Of(p).Request())
			if err != nil {
				return "", err
			}
			a, err := s.Ask(ctx)
			if err != nil || a.Backend != pod {
				_ = s.Close(ctx) // another pod's, or none's
				return a.Backend, err
			}
			all[p] = s
			return a.Backend, nil
		}).Should(Equal(pod), "a flow over %s", p)
	}
	DeferCleanup(func(ctx context.Context) {
		for _, s := range all {
			_ = s.Close(ctx) // its service may be gone
		}
	})
	return all
}

// expect asks on every flow that stands.
func (s sessions) expect(ctx context.Context, pod string) {
	GinkgoHelper()
	Expect(s.lost(ctx, pod)).To(BeEmpty())
}

// lost says which flows do not answer, or are not the pod's.
func (s sessions) lost(ctx context.Context, pod string) string {
	lost := ""
	for p, session := range s {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		a, err := session.Ask(ctx)
		cancel()
		if err != nil || a.Backend != pod {
			lost += fmt.Sprintf("%s: answered by %q: %v\n", p, a.Backend, err)
		}
	}
	return lost
}

// traffic are requests of all protocols, over and over.
type traffic struct {
	stop    context.CancelFunc
	results chan probe.Result
}

// startTraffic begins to ask all services, a few requests at a time.
func startTraffic(ctx context.Context, l *cluster.Lab) *traffic {
	during, stop := context.WithCancel(ctx)
	t := &traffic{stop: stop, results: make(chan probe.Result, 1)}
	DeferCleanup(stop)
	go func() {
		var sum probe.Result
		for during.Err() == nil {
			r := l.Requests.Burst(ctx, 3*len(cluster.Protocols), len(cluster.Protocols), func(i int) probe.Request {
				return cluster.Of(cluster.Protocols[i%len(cluster.Protocols)]).Request()
			})
			sum.Requests += r.Requests
			sum.Failures = append(sum.Failures, r.Failures...)
		}
		t.results <- sum
	}()
	return t
}

// expectNoneLost ends the traffic.
func (t *traffic) expectNoneLost() {
	GinkgoHelper()
	t.stop()
	var sum probe.Result
	Eventually(t.results).WithTimeout(harness.Patience).Should(Receive(&sum))
	Expect(sum.Requests).To(BeNumerically(">", 0))
	Expect(sum.Failures).To(BeEmpty(), "of %d requests", sum.Requests)
}
