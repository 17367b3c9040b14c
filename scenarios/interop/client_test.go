package interop

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/spec"
)

// client is a speaker in the place of the article's BIRD.
type client struct {
	name      string
	files     map[string]string
	processes []spec.Process
	paths     func(context.Context, *lab.Lab) ([]lab.Path, error)
	// sign has the speaker use a password for its sessions, or none where it is
	// empty.
	sign func(ctx context.Context, l *lab.Lab, password string) error
	// route brings the speaker's best path into the kernel; nil where a daemon
	// of its own does.
	route func(context.Context, *lab.Lab) error
}

var clients = []client{
	{
		name:      "FRR",
		files:     map[string]string{"zebra.conf": config("zebra.conf"), "bgpd.conf": config("frr-client.conf")},
		processes: []spec.Process{zebra(), bgpd()},
		paths:     frrPaths,
		sign:      frrSign,
	},
	{
		name:      "Debian's gobgpd",
		files:     map[string]string{"gobgpd.toml": config("gobgpd-client.toml")},
		processes: []spec.Process{gobgpd()},
		paths:     gobgpdPaths,
		sign:      gobgpdSign,
		route:     routeByRIB,
	},
}

// The announcements of rank 0 and rank 1 (docs/architecture.md, Ranks).
var (
	activePath  = lab.Path{Via: lab.Master1, Best: true, ASPath: []int{64512}, MED: 0}
	standbyPath = lab.Path{Via: lab.Master2, ASPath: []int{64512, 64512}, MED: 10}
)

var _ = Describe("The article's client", func() {
	for _, c := range clients {
		Describe("with "+c.name, Ordered, ContinueOnFailure, func() {
			var l *lab.Lab
			paths := func(ctx context.Context) AsyncAssertion {
				return harness.Soon(ctx, func(ctx context.Context) ([]lab.Path, error) { return c.paths(ctx, l) }).
					WithPolling(100 * time.Millisecond)
			}
			expectRoutes := func(ctx context.Context, via netip.Addr) {
				GinkgoHelper()
				harness.Soon(ctx, func(ctx context.Context) (netip.Addr, error) {
					if c.route != nil {
						if err := c.route(ctx, l); err != nil {
							return netip.Addr{}, err
						}
					}
					return l.NextHop(ctx, "client")
				}).WithPolling(100 * time.Millisecond).Should(Equal(via))
				l.ExpectRoutes(ctx, via)
			}
			BeforeAll(func(ctx SpecContext) {
				l = lab.UpPage(ctx, "article", harness.Options{Change: func(p *spec.Page) {
					p.Nodes["client"].Files, p.Nodes["client"].Processes = c.files, c.processes
					p.Vars["password"] = wrong
					withPasswordFile(p)
				}})
				for _, m := range lab.Masters {
					l.ExpectServing(ctx, m, lab.Services...)
				}
			})
			It("has no session while its password is another, and has both with the masters' (RFC 2385)", func(ctx SpecContext) {
				for _, m := range lab.Masters {
					expectMismatch(ctx, l, m)
				}
				paths(ctx).Should(BeEmpty())
				Expect(c.sign(ctx, l, password)).To(Succeed())
				paths(ctx).Should(Equal([]lab.Path{activePath, standbyPath}))
				expectRoutes(ctx, lab.Master1)
			})
			It("prefers the active master and knows the standby", func(ctx SpecContext) {
				paths(ctx).Should(Equal([]lab.Path{activePath, standbyPath}))
				expectRoutes(ctx, lab.Master1)
			})
			It("loses none of 200 requests over TCP, UDP and SCTP each", func(ctx SpecContext) {
				Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
				expectNoneLost(ctx, l)
			})
			It("goes over to the standby when the active master is cut off, and back", func(ctx SpecContext) {
				l.Cut("master1")
				expectRoutes(ctx, lab.Master2)
				l.ExpectAnswers(ctx, lab.Services...)
				l.Mend("master1")
				paths(ctx).Should(Equal([]lab.Path{activePath, standbyPath}))
				expectRoutes(ctx, lab.Master1)
				l.ExpectAnswers(ctx, lab.Services...)
			})
			It("goes on unsigned once both ends have given the password up", func(ctx SpecContext) {
				Expect(os.WriteFile(filepath.Join(l.Node("worker2").Dir(), "passwords"), nil, 0o600)).To(Succeed())
				paths(ctx).Should(BeEmpty(), "control: the masters refuse what is signed still")
				Expect(c.sign(ctx, l, "")).To(Succeed())
				paths(ctx).Should(Equal([]lab.Path{activePath, standbyPath}))
				expectRoutes(ctx, lab.Master1)
				l.ExpectAnswers(ctx, lab.Services...)
			})
			It("control: without the services the same looks find no path, no route and no answer", func(ctx SpecContext) {
				l.Withdraw(lab.Services...)
				expectRoutes(ctx, netip.Addr{})
				paths(ctx).Should(BeEmpty())
				Expect(l.Ask(ctx, 300*time.Millisecond, lab.Services...)).NotTo(BeEmpty())
			})
		})
	}
})

func expectNoneLost(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	for _, s := range lab.Services {
		result := l.Requests.Spread(ctx, s.Request(), 200, 32)
		Expect(result.Lost()).To(BeZero(), "%s: %s", s.Name, result)
	}
}
