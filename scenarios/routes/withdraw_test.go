package routes

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

const (
	// prompt is how long a verdict may take to become a route, on two cores
	// that may be busy: the withdrawal itself takes milliseconds.
	prompt = time.Second + time.Second/2
	// watched asks for quick probes of a service.
	watched = `
    weir-lb.io/liveness: "yes"
    weir-lb.io/probetimeout: "1"
    weir-lb.io/probewait: "500ms"
    weir-lb.io/proberetries: "1"`
	// mayGo allows that its address is withdrawn.
	mayGo = `
    weir-lb.io/withdraw: "yes"`
)

// expectWithdrawal kills all servers behind the address: its route goes where
// every service allows it, stays where they do not, and comes back with a server.
func expectWithdrawal(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	annotate(ctx, l, watched+mayGo)
	harness.Step("the servers of all three services die, and the route goes with the verdict", func() {
		for _, s := range lab.Services {
			Expect(l.Node(s.Pod).Process("serve").Kill(ctx)).To(Succeed())
		}
		expectBackends(ctx, l, v1.BackendInactive)
		expectRouteWithin(ctx, l, prompt, netip.Addr{})
		Expect(l.Paths(ctx)).To(BeEmpty())
		Expect(l.Node("master1").Run(ctx, "weirctl", "get", "lb", "-o", "json")).To(ContainSubstring(
			"is withdrawn: no service on it has a live backend"))
	})
	harness.Step("one service does not allow it any more: the route is back, and clients are refused at once", func() {
		l.Write(lab.Nginx.Manifest, annotated(l, lab.Nginx, watched))
		expectRouteWithin(ctx, l, harness.Patience, lab.Master1)
		harness.Holds(ctx, steady, func(ctx context.Context) (netip.Addr, error) { return l.NextHop(ctx, "client") }).
			WithPolling(100 * time.Millisecond).Should(Equal(lab.Master1))
		before := noBackend(ctx, l)
		expectRefused(ctx, l, lab.Services...)
		Expect(noBackend(ctx, l)).To(BeNumerically(">=", before+uint64(len(lab.Services))), "the master that is announced drops them")
	})
	harness.Step("all allow it again: it goes, and one server that starts brings it back", func() {
		l.Write(lab.Nginx.Manifest, annotated(l, lab.Nginx, watched+mayGo))
		expectRouteWithin(ctx, l, harness.Patience, netip.Addr{})
		Expect(l.Node(lab.SCTP.Pod).Process("serve").Start(ctx)).To(Succeed())
		expectRouteWithin(ctx, l, harness.Patience, lab.Master1)
		l.ExpectAnswers(ctx, lab.SCTP)
	})
}

// noBackend counts what master1 dropped because no backend was alive.
func noBackend(ctx context.Context, l *lab.Lab) uint64 {
	GinkgoHelper()
	for _, d := range l.Counters(ctx, "master1").Drops {
		if d.Reason == "no_backend" {
			return d.Count
		}
	}
	return 0
}

// annotate adds annotations to all services, and waits until the masters go by
// them.
func annotate(ctx context.Context, l *lab.Lab, annotations string) {
	GinkgoHelper()
	for _, s := range lab.Services {
		l.Write(s.Manifest, annotated(l, s, annotations))
	}
	for _, m := range lab.Masters {
		harness.Soon(ctx, func(ctx context.Context) (string, error) { return unwatched(ctx, l, m) }).
			Should(BeEmpty(), "services of %s", m)
	}
}

// unwatched names the services of a master that do not allow their withdrawal
// yet, or have a backend that nobody has asked.
func unwatched(ctx context.Context, l *lab.Lab, master string) (string, error) {
	services, err := l.Weir(master).Services(ctx)
	names := ""
	for _, s := range services {
		for _, b := range s.BackendStates {
			if !s.Withdraw || b.Probe == nil {
				names += s.Name + " "
			}
		}
	}
	return names, err
}

// annotated is the service's manifest with more annotations.
func annotated(l *lab.Lab, s lab.Service, more string) string {
	const last = `loxilb.io/lbmode: "fullnat"`
	return strings.Replace(string(l.Page.ManifestFiles[s.Manifest]), last, last+more, 1)
}

// expectBackends waits until every backend is in a state at both masters.
func expectBackends(ctx context.Context, l *lab.Lab, state string) {
	GinkgoHelper()
	for _, m := range lab.Masters {
		Eventually(ctx, func(ctx context.Context) ([]string, error) {
			backends, err := l.Weir(m).Backends(ctx)
			var others []string
			for _, b := range backends {
				if b.State != state {
					others = append(others, fmt.Sprintf("%s is %s", b.Service, b.State))
				}
			}
			return others, err
		}).WithTimeout(harness.Patience).WithPolling(10*time.Millisecond).Should(BeEmpty(), "backends of %s", m)
	}
}

// expectRouteWithin is lab.ExpectRoutes with a bound for all nodes together.
func expectRouteWithin(ctx context.Context, l *lab.Lab, within time.Duration, via netip.Addr) {
	GinkgoHelper()
	nodes := append([]string{"client"}, lab.Workers...)
	want := map[string]netip.Addr{}
	for _, n := range nodes {
		want[n] = via
	}
	Eventually(ctx, func(ctx context.Context) (map[string]netip.Addr, error) {
		got := map[string]netip.Addr{}
		for _, n := range nodes {
			hop, err := l.NextHop(ctx, n)
			if err != nil {
				return nil, err
			}
			got[n] = hop
		}
		return got, nil
	}).WithTimeout(within).WithPolling(50 * time.Millisecond).Should(Equal(want))
}
