package routes

import (
	"context"
	"net/netip"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

// The announcements of rank 0 and rank 1.
var (
	activePath  = lab.Path{Via: lab.Master1, Best: true, ASPath: []int{64512}, MED: 0}
	standbyPath = lab.Path{Via: lab.Master2, ASPath: []int{64512, 64512}, MED: 10}
)

const vip = "123.123.123.1/32"

// steady is for how long something has to stay away: longer than a change of a
// manifest takes to reach the routes, by far.
const steady = time.Second

var _ = Describe("The VIP's route", Ordered, ContinueOnFailure, func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) { l = lab.Up(ctx, harness.Options{}) })

	// rib is a node's RIB now, paths are the client's.
	rib := func(ctx context.Context, node string) AsyncAssertion {
		return harness.Soon(ctx, func(ctx context.Context) (map[string][]lab.RIBPath, error) { return l.RIB(ctx, node) }).
			WithPolling(100 * time.Millisecond)
	}
	paths := func(ctx context.Context) AsyncAssertion {
		return harness.Soon(ctx, l.Paths).WithPolling(100 * time.Millisecond)
	}

	Describe("has ranks", func() {
		It("by MED and AS path at the client, which prefers the active master", func(ctx SpecContext) {
			paths(ctx).Should(Equal([]lab.Path{activePath, standbyPath}))
		})
		It("by LOCAL_PREF and MED on the workers, which prefer it too", func(ctx SpecContext) {
			for _, worker := range lab.Workers {
				rib(ctx, worker).Should(Equal(map[string][]lab.RIBPath{vip: {
					{NextHop: lab.Master1, Best: true, LocalPref: 1000, MED: 0},
					{NextHop: lab.Master2, LocalPref: 990, MED: 10},
				}}))
			}
		})
		It("from each master's own path only: it refuses the other's", func(ctx SpecContext) {
			own := netip.IPv4Unspecified()
			rib(ctx, "master1").Should(Equal(map[string][]lab.RIBPath{vip: {{NextHop: own, Best: true, LocalPref: 1000}}}))
			rib(ctx, "master2").Should(Equal(map[string][]lab.RIBPath{vip: {{NextHop: own, Best: true, LocalPref: 990, MED: 10}}}))
		})
	})

	It("stays when two of its three services go, and the third is served", func(ctx SpecContext) {
		others := foreignRoutes(ctx, l)
		DeferCleanup(func(ctx SpecContext) {
			l.Restore(lab.Services...)
			l.ExpectConverged(ctx, lab.Master1)
		})
		harness.Step("nginx and udp are deleted", func() {
			l.Withdraw(lab.Nginx, lab.UDP)
			for _, m := range lab.Masters {
				l.ExpectServing(ctx, m, lab.SCTP)
			}
		})
		harness.Step("routes stay, sctp answers, the others refuse", func() {
			harness.Holds(ctx, steady, l.Paths).WithPolling(100 * time.Millisecond).Should(Equal([]lab.Path{activePath, standbyPath}))
			l.ExpectRoutes(ctx, lab.Master1)
			Expect(l.Ask(ctx, 5*time.Second, lab.SCTP)).To(BeEmpty())
			expectRefused(ctx, l, lab.Nginx, lab.UDP)
		})
		harness.Step("the last goes, and the route with it, everywhere", func() {
			l.Withdraw(lab.SCTP)
			paths(ctx).Should(BeEmpty())
			for _, worker := range lab.Workers {
				rib(ctx, worker).Should(BeEmpty())
			}
			l.ExpectRoutes(ctx, netip.Addr{})
		})
		harness.Step("routes of others were not touched", func() {
			Expect(foreignRoutes(ctx, l)).To(Equal(others))
		})
		harness.Step("control: requests and the look for paths find the loss", func() {
			Expect(l.Ask(ctx, 300*time.Millisecond, lab.SCTP)).NotTo(BeEmpty())
			Expect(l.Paths(ctx)).NotTo(ContainElement(activePath))
		})
		harness.Step("they come back, and so does the route", func() {
			l.Restore(lab.Services...)
			paths(ctx).Should(Equal([]lab.Path{activePath, standbyPath}))
			l.ExpectConverged(ctx, lab.Master1)
			Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
		})
	})

	It("stays when the last backend dies: clients are refused at once, not lost", func(ctx SpecContext) {
		DeferCleanup(func(ctx SpecContext) {
			l.Restore(lab.Services...)
			l.ExpectConverged(ctx, lab.Master1)
		})
		for _, s := range lab.Services {
			l.Write(s.Manifest, withoutEndpoints(string(l.Page.ManifestFiles[s.Manifest])))
		}
		for _, m := range lab.Masters {
			l.ExpectServing(ctx, m) // no service has a backend
		}
		harness.Holds(ctx, steady, l.Paths).WithPolling(100 * time.Millisecond).Should(Equal([]lab.Path{activePath, standbyPath}))
		l.ExpectRoutes(ctx, lab.Master1)
		expectRefused(ctx, l, lab.Services...)
	})

	It("goes with the last server, if all services on the address allow that, and comes back with one", func(ctx SpecContext) {
		DeferCleanup(func(ctx SpecContext) {
			l.Restore(lab.Services...)
			for _, s := range lab.Services {
				if p := l.Node(s.Pod).Process("serve"); !p.Running() {
					Expect(p.Start(ctx)).To(Succeed())
				}
			}
			l.ExpectConverged(ctx, lab.Master1)
		})
		expectWithdrawal(ctx, l)
	})

	It("is one of several: a second address comes and goes without the first", func(ctx SpecContext) {
		DeferCleanup(func(ctx SpecContext) { l.ExpectConverged(ctx, lab.Master1) })
		const second = "123.123.123.7/32"
		harness.Step("a service asks for an address of its own", func() {
			l.Write("second.yml", strings.NewReplacer(
				"name: nginx-lb1", "name: second", "kubernetes.io/service-name: nginx-lb1", "kubernetes.io/service-name: second",
				"  externalTrafficPolicy: Local", "  externalTrafficPolicy: Local\n  loadBalancerIP: 123.123.123.7",
			).Replace(string(l.Page.ManifestFiles["nginx.yml"])))
			for _, worker := range lab.Workers {
				rib(ctx, worker).Should(And(HaveKey(vip), HaveKeyWithValue(second, []lab.RIBPath{
					{NextHop: lab.Master1, Best: true, LocalPref: 1000, MED: 0},
					{NextHop: lab.Master2, LocalPref: 990, MED: 10},
				})))
			}
		})
		harness.Step("it is served at that address", func() {
			s := lab.Nginx.Request()
			s.Target = netip.MustParseAddrPort("123.123.123.7:55002")
			s.Timeout = time.Second
			harness.Soon(ctx, func(ctx context.Context) (string, error) {
				a, err := l.Requests.Do(ctx, s)
				return a.Backend, err
			}).Should(Equal(lab.Nginx.Pod))
		})
		harness.Step("it goes, and the first stays", func() {
			Expect(l.RemoveManifest("second.yml")).To(Succeed())
			for _, worker := range lab.Workers {
				rib(ctx, worker).Should(And(HaveKey(vip), Not(HaveKey(second))))
			}
			l.ExpectRoutes(ctx, lab.Master1)
		})
	})
})

// expectRefused asks services that refuse at once.
func expectRefused(ctx context.Context, l *lab.Lab, services ...lab.Service) {
	GinkgoHelper()
	for _, s := range services {
		harness.ExpectRefused(ctx, l.Requests, s.Request())
	}
}

// foreignRoutes are those of the workers' kernels that are not weir's.
func foreignRoutes(ctx context.Context, l *lab.Lab) map[string]string {
	GinkgoHelper()
	routes := map[string]string{}
	for _, worker := range lab.Workers {
		out, err := l.Node(worker).Run(ctx, "ip", "route", "show", "table", "all")
		Expect(err).NotTo(HaveOccurred())
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "proto bgp") {
				routes[worker] += line
			}
		}
	}
	return routes
}

// withoutEndpoints is a manifest of the article without its EndpointSlice.
func withoutEndpoints(manifest string) string {
	var kept []string
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		if !strings.Contains(document, "kind: EndpointSlice") {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, "\n---\n")
}
