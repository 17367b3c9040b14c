package node

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// page is beside the suite.
const page = "page.yaml"

// Addresses of the page.
var (
	vip     = netip.MustParseAddr("123.123.123.1")
	client  = netip.MustParseAddr("192.168.80.1")
	master1 = netip.MustParseAddr("192.168.80.10")
	master2 = netip.MustParseAddr("192.168.80.11")
)

var protocols = []v1.Protocol{v1.TCP, v1.UDP, v1.SCTP}

// service is one of the page's, with the same port for every protocol.
type service struct {
	name string
	port uint16
	// on is the machine whose pod serves.
	on string
}

var (
	onActive     = service{"active", 8000, "master1"}
	onStandby    = service{"standby", 8010, "master2"}
	onWorker     = service{"worker", 8020, "worker1"}
	onActivePod  = service{"active-pod", 8030, "master1"}
	onStandbyPod = service{"standby-pod", 8040, "master2"}
	onWorkerPod  = service{"worker-pod", 8050, "worker1"}
	services     = []service{onActive, onStandby, onWorker, onActivePod, onStandbyPod, onWorkerPod}
	// mixed has pods on master1 and on worker1.
	mixed = service{"mixed", 8060, ""}
)

func (s service) request(p v1.Protocol) probe.Request {
	return probe.Request{Protocol: probe.Protocol(p), Target: netip.AddrPortFrom(vip, s.port), Timeout: patience}
}

const (
	// patience is how long an answer may take.
	patience = 3 * time.Second
	// silence is how long is waited for an answer that must not come.
	silence = 400 * time.Millisecond
)

// asker is who asks, and by the eBPF of which master.
type asker struct{ node, by string }

var askers = []asker{
	{"client", "master1"},
	{"master1", "master1"}, {"pod-master1", "master1"},
	{"master2", "master2"}, {"pod-master2", "master2"},
}

// source is whom the pod of s sees when a asks in mode m. On the master that balances,
// the client itself, or the VIP where node or pod ask themselves; elsewhere the VIP
// only where a BGP route leads its answer back to this master.
func (a asker) source(s service, m v1.Mode) netip.Addr {
	switch {
	case a.node == "client" && (s.on == a.by || m == v1.ModeDefault):
		return client
	case s.on == a.by, a.node == "client" && m == v1.ModeFullNAT && s.on == "worker1":
		return vip
	case a.by == "master1":
		return master1
	}
	return master2
}

// lab is the running page with a client for requests on each node that asks.
type lab struct {
	*harness.Scenario
	requests map[string]*probe.Client
	// mode is that of all services, port counts the ports that have asked over UDP.
	mode v1.Mode
	port atomic.Uint32
}

// firstPort of those who ask over UDP.
const firstPort = 20000

// up brings the page up, with all services programmed on both masters and the
// worker's way back in place.
func up(ctx context.Context, o harness.Options) *lab {
	GinkgoHelper()
	l := &lab{Scenario: harness.Up(ctx, page, o), requests: map[string]*probe.Client{}}
	for _, a := range askers {
		c := &probe.Client{Enter: l.Node(a.node).Do, MTU: 1450}
		DeferCleanup(c.Close)
		l.requests[a.node] = c
	}
	l.expectMode(ctx, v1.ModeFullNAT)
	harness.Soon(ctx, func(ctx context.Context) (string, error) {
		return l.Node("worker1").Run(ctx, "ip", "route", "show", vip.String())
	}).Should(ContainSubstring("via "+master1.String()), "the way back from worker1")
	return l
}

// use has all services of the page in a mode.
func (l *lab) use(ctx context.Context, m v1.Mode) {
	GinkgoHelper()
	const services = "services.yml"
	content := strings.ReplaceAll(string(l.Page.ManifestFiles[services]), string(v1.ModeFullNAT), string(m))
	Expect(l.WriteManifest(services, []byte(content))).To(Succeed())
	l.expectMode(ctx, m)
}

// expectMode waits until both masters have all services in a mode.
func (l *lab) expectMode(ctx context.Context, m v1.Mode) {
	GinkgoHelper()
	for _, master := range []string{"master1", "master2"} {
		harness.Soon(ctx, func(ctx context.Context) (n int, err error) {
			all, err := l.Weir(master).Services(ctx)
			for _, s := range all {
				if s.Programmed && s.Mode == m {
					n++
				}
			}
			return n, err
		}).Should(Equal(7*len(protocols)), "services of %s in mode %s", master, m)
	}
	l.mode = m
}

// ask sends one request and says what is wrong with the answer.
func (l *lab) ask(ctx context.Context, a asker, s service, p v1.Protocol) string {
	r := s.request(p)
	if p == v1.UDP { // its flows outlive a mode, and none may be met again
		r.Source = netip.AddrPortFrom(netip.IPv4Unspecified(), firstPort+uint16(l.port.Add(1)))
	}
	answer, err := l.requests[a.node].Do(ctx, r)
	want := "pod-" + s.on
	switch {
	case err != nil:
		return fmt.Sprintf("%s asks %s over %s: %v", a.node, s.name, p, err)
	case answer.Backend != want || answer.SeenClient.Addr() != a.source(s, l.mode):
		return fmt.Sprintf("%s asks %s over %s: expected an answer of %s, which saw %s; got %s", a.node, s.name, p, want, a.source(s, l.mode), answer)
	}
	return ""
}

// expectServed has some ask all services over all protocols, beside each other.
func (l *lab) expectServed(ctx context.Context, some ...asker) {
	GinkgoHelper()
	wrong := make(chan string, len(some)*len(services)*len(protocols))
	var group sync.WaitGroup
	for _, a := range some {
		group.Go(func() {
			for _, s := range services {
				for _, p := range protocols {
					if why := l.ask(ctx, a, s, p); why != "" {
						wrong <- why
					}
				}
			}
		})
	}
	group.Wait()
	close(wrong)
	var all []string
	for why := range wrong {
		all = append(all, why)
	}
	Expect(all).To(BeEmpty())
}

// expectAccounted holds a master to in = forwarded + passed + dropped, and returns
// its drops.
func (l *lab) expectAccounted(ctx context.Context, node string) map[string]uint64 {
	GinkgoHelper()
	drops := map[string]uint64{}
	harness.Soon(ctx, func(ctx context.Context) (string, error) {
		c, err := l.Weir(node).Counters(ctx)
		out := c.Forwarded + c.Passed
		for _, d := range c.Drops {
			drops[d.Reason] = d.Count
			out += d.Count
		}
		if c.In == out {
			return "", err
		}
		return fmt.Sprintf("in %d is not %d: %+v", c.In, out, c), err
	}).Should(BeEmpty(), "every packet of %s is accounted for", node)
	return drops
}

// traffic is a service's condition NodeTraffic on a node: "true Reason: message".
func (l *lab) traffic(ctx context.Context, node string, s service) (string, error) {
	all, err := l.Weir(node).Services(ctx)
	for _, status := range all {
		if !strings.HasPrefix(status.Name, "default/"+s.name+":") {
			continue
		}
		for _, c := range status.Conditions {
			if c.Type == v1.ConditionNodeTraffic {
				return fmt.Sprintf("%t %s: %s", c.Status, c.Reason, c.Message), err
			}
		}
	}
	return "", err
}
