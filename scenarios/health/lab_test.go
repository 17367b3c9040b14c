package health

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe"
)

// Timing of all probes. A backend that dies right after it has answered is asked a period later, for three time-outs with half
// of one between them: 3.6 s, and so within retries x period.
const (
	period  = 2 * time.Second
	wait    = 400 * time.Millisecond
	retries = 2 // by default
	leaves  = retries * period
)

// securePort is where the spec itself serves pages over TLS.
const securePort = 443

// frontend is one of the VIP's, with the probe that its backends get.
type frontend struct {
	protocol v1.Protocol
	backend  uint16
	probe    v1.ProbeSpec
}

var (
	tcp    = frontend{v1.TCP, 8080, v1.ProbeSpec{}}
	udp    = frontend{v1.UDP, 33333, v1.ProbeSpec{}}
	sctp   = frontend{v1.SCTP, 9999, v1.ProbeSpec{}}
	page   = frontend{v1.TCP, 80, v1.ProbeSpec{Type: v1.ProbeHTTP, Request: "/", Expect: "Welcome to nginx"}}
	secure = frontend{v1.TCP, securePort, v1.ProbeSpec{Type: v1.ProbeHTTPS, Request: "/healthz"}}
	pinged = frontend{v1.TCP, 8081, v1.ProbeSpec{Type: v1.ProbePing}}

	all     = []frontend{tcp, udp, sctp, page, secure, pinged}
	carries = map[probe.Protocol]frontend{probe.TCP: tcp, probe.UDP: udp, probe.SCTP: sctp}
)

func (f frontend) service() v1.Service {
	f.probe.PeriodMilliseconds, f.probe.TimeoutMilliseconds = uint32(period.Milliseconds()), uint32(wait.Milliseconds())
	return v1.Service{
		Name: f.name(), Frontend: v1.Frontend{VIP: onelb.VIP, Port: f.backend, Protocol: f.protocol},
		Mode: v1.ModeFullNAT, Monitor: true, Probe: f.probe,
		Backends: []v1.Backend{{Address: onelb.Backend1, Port: f.backend}, {Address: onelb.Backend2, Port: f.backend}},
	}
}

// name is the kind of its probe.
func (f frontend) name() string {
	if f.probe.Type != "" {
		return string(f.probe.Type)
	}
	return string(f.protocol)
}

// lab is the running page.
type lab struct {
	*onelb.Lab
	pages map[string]*httptest.Server
}

func up(ctx context.Context) *lab {
	GinkgoHelper()
	l := &lab{onelb.Up(ctx, harness.Options{Hook: "tc"}), map[string]*httptest.Server{}}
	DeferCleanup(func() {
		for _, s := range l.pages {
			s.Close()
		}
	})
	l.serveSecure(ctx, "backend1")
	l.serveSecure(ctx, "backend2")
	services := make([]v1.Service, len(all))
	for i, f := range all {
		services[i] = f.service()
	}
	l.Program(ctx, "lb", services...)
	l.expectStates(ctx, harness.Patience, all, v1.BackendActive)
	return l
}

// serveSecure serves pages over TLS, with a certificate that nobody knows.
func (l *lab) serveSecure(ctx context.Context, node string) {
	GinkgoHelper()
	listener, err := l.Node(node).Listen(ctx, "tcp4", fmt.Sprintf(":%d", securePort))
	Expect(err).NotTo(HaveOccurred())
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	Expect(s.Listener.Close()).To(Succeed())
	s.Listener = listener
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // probes end connections their way
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s.StartTLS()
	l.pages[node] = s // up closes it
}

// states tells what weir knows of backend1 for each frontend, once asked.
func (l *lab) states(ctx context.Context) (map[string]string, error) {
	backends, err := l.Weir("lb").Backends(ctx)
	got := map[string]string{}
	for _, b := range backends {
		if b.Address != onelb.Backend1 {
			continue
		}
		got[b.Service] = b.State
		if b.Probe == nil {
			got[b.Service] += ", not asked"
		} else if b.Probe.Type != b.Service {
			got[b.Service] += ", asked by " + b.Probe.Type
		}
	}
	return got, err
}

// served lists the live backends of what carries requests.
func (l *lab) served(ctx context.Context) ([]string, error) {
	backends, err := l.Weir("lb").Backends(ctx)
	var live []string
	for _, f := range carries {
		for _, b := range backends {
			if b.Service == f.name() && b.State == v1.BackendActive {
				live = append(live, fmt.Sprintf("%s at %s", b.Service, b.Address))
			}
		}
	}
	return live, err
}

// noBackend counts what weir dropped because no backend was alive.
func (l *lab) noBackend(ctx context.Context) uint64 {
	GinkgoHelper()
	c, err := l.Weir("lb").Counters(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, d := range c.Drops {
		if d.Reason == "no_backend" {
			return d.Count
		}
	}
	return 0
}

// expectStates waits until backend1 is in a state for some frontends.
func (l *lab) expectStates(ctx context.Context, within time.Duration, some []frontend, state string) {
	GinkgoHelper()
	Eventually(ctx, l.states).WithTimeout(within).WithPolling(50 * time.Millisecond).Should(And(each(some, state)...))
}

func each(some []frontend, state string) (matchers []OmegaMatcher) {
	for _, f := range some {
		matchers = append(matchers, HaveKeyWithValue(f.name(), state))
	}
	return matchers
}

// expectOnly sends new flows of every protocol and expects who answers.
func (l *lab) expectOnly(ctx context.Context, names ...string) {
	GinkgoHelper()
	for p, f := range carries {
		r := l.Requests.Spread(ctx, probe.Request{Protocol: p, Target: netip.AddrPortFrom(onelb.VIP, f.backend)}, 20, 4)
		Expect(r.Lost()).To(BeZero(), "%s: %s", p, r)
		Expect(r.Backends).To(HaveLen(len(names)), "%s: %s", p, r)
		for _, n := range names {
			Expect(r.Backends).To(HaveKey(n), "%s: %s", p, r)
		}
	}
}
