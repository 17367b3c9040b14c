package overlay

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
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
	client  = netip.MustParseAddr("192.168.90.1")
	master1 = netip.MustParseAddr("192.168.80.10")
)

// overlayMTU is the longest IP packet that the pods' network carries.
const overlayMTU = 1450

var protocols = []v1.Protocol{v1.TCP, v1.UDP, v1.SCTP}

// podPorts are where the pods serve.
var podPorts = map[v1.Protocol]uint16{v1.TCP: 8080, v1.UDP: 33333, v1.SCTP: 9999}

// service is one of the page's, with the same port for every protocol.
type service struct {
	name string
	port uint16
	pod  string
	at   netip.Addr
	// source is who the pod sees.
	source netip.Addr
}

var (
	fullnat  = service{"fullnat", 8000, "pod1", netip.MustParseAddr("10.42.1.5"), vip}
	onearm   = service{"onearm", 8010, "pod1", netip.MustParseAddr("10.42.1.5"), master1}
	direct   = service{"default", 8020, "pod1", netip.MustParseAddr("10.42.1.5"), client}
	filtered = service{"strict", 8030, "pod2", netip.MustParseAddr("10.42.2.5"), vip}
	services = []service{fullnat, onearm, direct, filtered}
)

func (s service) request(p v1.Protocol) probe.Request {
	return probe.Request{Protocol: probe.Protocol(p), Target: netip.AddrPortFrom(vip, s.port)}
}

func (s service) server(p v1.Protocol) netip.AddrPort { return netip.AddrPortFrom(s.at, podPorts[p]) }

// lab is the running page with a client for requests.
type lab struct {
	*harness.Scenario
	hook     string
	requests *probe.Client
}

// up brings the page up, with services, backends, routes and sessions in place.
func up(ctx context.Context, o harness.Options) *lab {
	GinkgoHelper()
	l := &lab{Scenario: harness.Up(ctx, page, o), hook: o.Hook}
	l.requests = &probe.Client{Enter: l.Node("client").Do}
	DeferCleanup(l.requests.Close)
	harness.Soon(ctx, l.backends).Should(ConsistOf(allBackends()...))
	for _, worker := range []string{"worker1", "worker2"} {
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			return l.Node(worker).Run(ctx, "ip", "route", "show", vip.String())
		}).Should(ContainSubstring("via "+master1.String()), "the way back from %s", worker)
	}
	for _, node := range []string{"master1", "worker1", "worker2"} {
		l.ExpectSessions(ctx, node)
	}
	return l
}

func allBackends() []any {
	var all []any
	for _, s := range services {
		for _, p := range protocols {
			all = append(all, fmt.Sprintf("%s %s active", s.name, s.server(p)))
		}
	}
	return all
}

// backends lists what master1 serves.
func (l *lab) backends(ctx context.Context) ([]string, error) {
	services, err := l.Weir("master1").Services(ctx)
	var all []string
	for _, s := range services {
		name, _, _ := strings.Cut(strings.TrimPrefix(s.Name, "default/"), ":")
		for _, b := range s.BackendStates {
			if s.Programmed {
				all = append(all, fmt.Sprintf("%s %s %s", name, netip.AddrPortFrom(b.Address, b.Port), b.State))
			}
		}
	}
	return all, err
}

// ask sends one request and says what is wrong with the answer.
func (l *lab) ask(ctx context.Context, s service, p v1.Protocol) string {
	return l.askWithin(ctx, 2*time.Second, s, p)
}

// silence is how long is waited for an answer that must not come.
const silence = 400 * time.Millisecond

func (l *lab) askWithin(ctx context.Context, timeout time.Duration, s service, p v1.Protocol) string {
	r := s.request(p)
	r.Timeout = timeout
	a, err := l.requests.Do(ctx, r)
	switch {
	case err != nil:
		return err.Error()
	case a.Backend != s.pod || a.SeenClient.Addr() != s.source:
		return fmt.Sprintf("expected an answer of %s, which saw %s; got %s", s.pod, s.source, a)
	}
	return ""
}

// filterOf is the reverse path filter of a node's flannel.1.
func (l *lab) filterOf(node string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := l.Node(node).Run(ctx, "cat", "/proc/sys/net/ipv4/conf/flannel.1/rp_filter")
		return strings.TrimSpace(out), err
	}
}
