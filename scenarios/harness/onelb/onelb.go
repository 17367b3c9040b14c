// Package onelb is the topology page one-lb as suites use it: a client, weir and
// two backends, with a frontend of the VIP for each mode and protocol.
//
//	client .1 -- 192.0.2.0/24 -- .10 lb .10 -- 198.51.100.0/25 -- .1 backend1
//	                                    .130 -- 198.51.100.128/25 -- .129 backend2
package onelb

import (
	"context"
	"net/netip"
	"slices"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// Addresses of the page.
var (
	VIP      = netip.MustParseAddr("203.0.113.1")
	Client   = netip.MustParseAddr("192.0.2.1")
	Backend1 = netip.MustParseAddr("198.51.100.1")
	Backend2 = netip.MustParseAddr("198.51.100.129")
	// TowardsBackend1 is the load balancer's own address on backend1's link.
	TowardsBackend1 = netip.MustParseAddr("198.51.100.10")
	// TowardsClient is its address on the client's link.
	TowardsClient = netip.MustParseAddr("192.0.2.10")
)

// Modes and Protocols are all that the dataplane serves.
var (
	Modes     = []v1.Mode{v1.ModeDefault, v1.ModeOneArm, v1.ModeFullNAT}
	Protocols = []v1.Protocol{v1.TCP, v1.UDP, v1.SCTP}
	Hooks     = []string{"tc", "xdp"}
)

// servers are the ports at which the page's backends serve.
var servers = map[v1.Protocol]uint16{v1.TCP: 8080, v1.UDP: 33333, v1.SCTP: 9999}

// Lab is the running page with a client for requests.
type Lab struct {
	*harness.Scenario
	Hook     string // tc or xdp
	Requests *probe.Client
}

// Up brings the page up for the present spec or container, with weir at o.Hook.
func Up(ctx context.Context, o harness.Options) *Lab {
	ginkgo.GinkgoHelper()
	return UpPage(ctx, "one-lb", o)
}

// UpPage is Up for a page of a suite's own that has the nodes client and lb and
// the addresses of one-lb.
func UpPage(ctx context.Context, page string, o harness.Options) *Lab {
	ginkgo.GinkgoHelper()
	l := &Lab{Scenario: harness.Up(ctx, page, o), Hook: o.Hook}
	l.Requests = &probe.Client{Enter: l.Node("client").Do}
	ginkgo.DeferCleanup(l.Requests.Close)
	harness.Soon(ctx, func(ctx context.Context) ([]v1.Interface, error) {
		o, err := l.Weir("lb").Observed(ctx)
		return o.Interfaces, err
	}).Should(gomega.ContainElements(at("eth1", o.Hook), at("eth2", o.Hook), at("eth3", o.Hook)))
	return l
}

// at matches an interface that weir uses at the hook.
func at(name, hook string) types.GomegaMatcher {
	return gomega.And(gomega.HaveField("Name", name), gomega.HaveField("Hook", hook))
}

// Frontend is the VIP's port for a mode and protocol.
func Frontend(m v1.Mode, p v1.Protocol) netip.AddrPort {
	return netip.AddrPortFrom(VIP, uint16(55000+10*slices.Index(Modes, m)+slices.Index(Protocols, p)))
}

// Server is where a backend of the page serves a protocol.
func Server(a netip.Addr, p v1.Protocol) netip.AddrPort { return netip.AddrPortFrom(a, servers[p]) }

// Service is the service behind Frontend with these backends.
func Service(m v1.Mode, p v1.Protocol, backends ...netip.AddrPort) v1.Service {
	at := Frontend(m, p)
	s := v1.Service{
		Name:     "scenario/" + string(m) + "-" + string(p),
		Frontend: v1.Frontend{VIP: at.Addr(), Port: at.Port(), Protocol: p}, Mode: m,
	}
	for _, b := range backends {
		s.Backends = append(s.Backends, v1.Backend{Address: b.Addr(), Port: b.Port()})
	}
	return s
}

// Services are the services of all modes and protocols, with the servers of
// these backends.
func Services(backends ...netip.Addr) []v1.Service {
	var all []v1.Service
	for _, m := range Modes {
		for _, p := range Protocols {
			s := Service(m, p)
			for _, b := range backends {
				s.Backends = append(s.Backends, v1.Backend{Address: b, Port: servers[p]})
			}
			all = append(all, s)
		}
	}
	return all
}

// Request asks a frontend.
func Request(m v1.Mode, p v1.Protocol) probe.Request {
	return probe.Request{Protocol: probe.Protocol(p), Target: Frontend(m, p)}
}
