package collision

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	clients  = 1000
	parallel = 200
	port     = 4000 // of every client
	timeout  = 15 * time.Second
)

// many is the prefix of the clients' addresses.
var many = netip.MustParsePrefix("10.9.0.0/16")

var _ = Describe("Clients on one source port", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.Up(ctx, harness.Options{Hook: hook, Unrecorded: true})
				addClients(ctx, lab)
			})
			It("control: without the service none is served", func(ctx SpecContext) {
				harness.Step("some clients ask", func() {
					result := lab.Requests.Burst(ctx, parallel, parallel, func(i int) probe.Request {
						r := requestOf(v1.ModeFullNAT, v1.UDP, i)
						r.Timeout = 300 * time.Millisecond
						return r
					})
					Expect(result.Lost()).To(Equal(parallel), result.String())
				})
			})
			for _, mode := range []v1.Mode{v1.ModeOneArm, v1.ModeFullNAT} {
				for _, protocol := range onelb.Protocols {
					It(fmt.Sprintf("are all served at once by one endpoint: %s, %s", mode, protocol), func(ctx SpecContext) {
						lab.Program(ctx, "lb", onelb.Service(mode, protocol, onelb.Server(onelb.Backend1, protocol)))
						seen := askAll(ctx, lab, mode, protocol)
						harness.Step("the endpoint saw a port of its own for each", func() {
							Expect(seen).To(HaveLen(clients))
							Expect(ports(seen, sourceOf(mode))).To(HaveLen(clients))
						})
					})
				}
			}
			It("control: in default mode the same look finds no ports to differ", func(ctx SpecContext) {
				lab.Program(ctx, "lb", onelb.Service(v1.ModeDefault, v1.UDP, onelb.Server(onelb.Backend1, v1.UDP)))
				seen := askAll(ctx, lab, v1.ModeDefault, v1.UDP)
				Expect(ports(seen, sourceOf(v1.ModeFullNAT))).To(BeEmpty())
			})
		})
	}
})

// addClients makes every address of the prefix the client's.
func addClients(ctx context.Context, lab *onelb.Lab) {
	GinkgoHelper()
	_, err := lab.Node("client").Run(ctx, "ip", "route", "add", "local", many.String(), "dev", "lo")
	Expect(err).NotTo(HaveOccurred())
	Expect(link.AddRoute(lab.Node("lb").NS, link.Route{To: many, Via: onelb.Client})).To(Succeed())
}

// requestOf is the request of the i-th client.
func requestOf(m v1.Mode, p v1.Protocol, i int) probe.Request {
	a := many.Addr().As4()
	a[2], a[3] = byte(1+i/250), byte(1+i%250)
	r := onelb.Request(m, p)
	r.Source, r.Timeout = netip.AddrPortFrom(netip.AddrFrom4(a), port), timeout
	return r
}

// sourceOf is the address that the endpoint sees.
func sourceOf(m v1.Mode) netip.Addr {
	if m == v1.ModeOneArm {
		return onelb.TowardsBackend1
	}
	return onelb.VIP
}

// askAll opens a session for each client, asks, and closes them only when all
// have been answered: every flow lives beside all the others. It returns how
// the endpoint saw the clients.
func askAll(ctx context.Context, lab *onelb.Lab, m v1.Mode, p v1.Protocol) []netip.AddrPort {
	GinkgoHelper()
	var (
		mu       sync.Mutex
		sessions []*probe.Session
		seen     []netip.AddrPort
	)
	harness.Step(fmt.Sprintf("%d clients ask", clients), func() {
		inParallel(func(i int) error {
			s, err := lab.Requests.Open(ctx, requestOf(m, p, i))
			if err != nil {
				return err
			}
			mu.Lock()
			sessions = append(sessions, s)
			mu.Unlock()
			a, err := s.Ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, a.SeenClient)
			return err
		}, clients)
	})
	harness.Step("all ask once more and leave", func() {
		inParallel(func(i int) error {
			if _, err := sessions[i].Ask(ctx); err != nil {
				return err
			}
			return sessions[i].Close(ctx)
		}, len(sessions))
	})
	return seen
}

// inParallel calls f for 0 to n-1 and expects no error.
func inParallel(f func(i int) error, n int) {
	GinkgoHelper()
	var g errgroup.Group
	g.SetLimit(parallel)
	for i := range n {
		g.Go(func() error {
			if err := f(i); err != nil {
				return fmt.Errorf("client %d: %w", i, err)
			}
			return nil
		})
	}
	Expect(g.Wait()).To(Succeed())
}

// ports are the different ports among those clients that were seen at addr.
func ports(seen []netip.AddrPort, addr netip.Addr) map[uint16]bool {
	all := map[uint16]bool{}
	for _, s := range seen {
		if s.Addr() == addr {
			all[s.Port()] = true
		}
	}
	return all
}
