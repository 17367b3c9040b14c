// Package lab is the article's page as suites use it: its machines, services
// and addresses, and what a request needs on its way.
//
//	client --- 192.168.80.0/24 --- master1, master2, worker1 (nginx, sctp), worker2 (udp)
//	client --- 192.168.90.0/24 --- master1, master2
package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// Addresses of the page.
var (
	VIP = netip.MustParseAddr("123.123.123.1")
	// Client and Client2 are the client's addresses on the nodes' and on the
	// masters' network.
	Client  = netip.MustParseAddr("192.168.80.1")
	Client2 = netip.MustParseAddr("192.168.90.1")
	Master1 = netip.MustParseAddr("192.168.80.10")
	Master2 = netip.MustParseAddr("192.168.80.11")
)

// Masters and Workers are the nodes that run weir.
var (
	Masters = []string{"master1", "master2"}
	Workers = []string{"worker1", "worker2"}
)

// Service is one of the article's three services and where it ends up.
type Service struct {
	Name     string // in the namespace default
	Manifest string // its file
	Protocol probe.Protocol
	Frontend netip.AddrPort
	Worker   string
	NodePort netip.AddrPort // of the worker
	Pod      string
	PodPort  netip.AddrPort // of the pod
}

// The services.
var (
	Nginx = Service{
		Name: "nginx-lb1", Manifest: "nginx.yml", Protocol: probe.HTTP, Frontend: netip.AddrPortFrom(VIP, 55002),
		Worker: "worker1", NodePort: netip.MustParseAddrPort("192.168.80.101:32694"),
		Pod: "nginx-test", PodPort: netip.MustParseAddrPort("10.42.2.5:80"),
	}
	UDP = Service{
		Name: "udp-lb1", Manifest: "udp.yml", Protocol: probe.UDP, Frontend: netip.AddrPortFrom(VIP, 55003),
		Worker: "worker2", NodePort: netip.MustParseAddrPort("192.168.80.102:30165"),
		Pod: "udp-test", PodPort: netip.MustParseAddrPort("10.42.3.4:33333"),
	}
	SCTP = Service{
		Name: "sctp-lb1", Manifest: "sctp.yml", Protocol: probe.SCTP, Frontend: netip.AddrPortFrom(VIP, 55004),
		Worker: "worker1", NodePort: netip.MustParseAddrPort("192.168.80.101:31402"),
		Pod: "sctp-test", PodPort: netip.MustParseAddrPort("10.42.2.6:9999"),
	}
	Services = []Service{Nginx, UDP, SCTP}
)

// Request asks the service, with the default timeout.
func (s Service) Request() probe.Request {
	return probe.Request{Protocol: s.Protocol, Target: s.Frontend}
}

// Endpoint is where a service ends up besides.
type Endpoint struct {
	Pod      string
	NodePort netip.AddrPort // of its worker
}

// Lab is the running page with a client for requests.
type Lab struct {
	*harness.Scenario
	Requests *probe.Client
	// Second is a further endpoint of services, by their names, where a suite changed
	// the page so.
	Second map[string]Endpoint
	// Controller asks kube-weir.
	Controller *client.Client
}

// Up brings the page up for the present spec or container, with all routes and
// services in place.
func Up(ctx context.Context, o harness.Options) *Lab {
	ginkgo.GinkgoHelper()
	l := UpPage(ctx, "article", o)
	l.ExpectConverged(ctx, Master1)
	return l
}

// UpPage brings a page with the nodes of the article up, and waits for nothing.
func UpPage(ctx context.Context, page string, o harness.Options) *Lab {
	ginkgo.GinkgoHelper()
	l := &Lab{Scenario: harness.Up(ctx, page, o)}
	l.Requests = &probe.Client{Enter: l.Node("client").Do}
	ginkgo.DeferCleanup(l.Requests.Close)
	var err error
	l.Controller, err = client.New(client.Options{Node: "worker2", Socket: l.ControllerSocket()})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ginkgo.DeferCleanup(l.Controller.Close)
	return l
}

// ControllerSocket is kube-weir's API.
func (l *Lab) ControllerSocket() string {
	return filepath.Join(l.Dir(), "kube-weir.sock")
}

// ExpectConverged waits until both masters serve the three services, client
// and workers have their route to the active master, and the client knows the
// standby's path too, without which it could not fail over.
func (l *Lab) ExpectConverged(ctx context.Context, active netip.Addr) {
	ginkgo.GinkgoHelper()
	for _, m := range Masters {
		l.ExpectServing(ctx, m, Services...)
	}
	l.ExpectRoutes(ctx, active)
	harness.Soon(ctx, l.Paths).Should(gomega.HaveLen(len(Masters)), "the client has to know both paths")
}

// ExpectServing waits until the node serves exactly these services, each with
// all its backends.
func (l *Lab) ExpectServing(ctx context.Context, node string, services ...Service) {
	ginkgo.GinkgoHelper()
	var want []string
	for _, s := range services {
		want = append(want, fmt.Sprintf("default/%s %s %s active", s.Name, s.Frontend, s.NodePort))
		if e, ok := l.Second[s.Name]; ok {
			want = append(want, fmt.Sprintf("default/%s %s %s active", s.Name, s.Frontend, e.NodePort))
		}
	}
	harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.serving(ctx, node) }).
		Should(gomega.ConsistOf(want), "%s has to serve the services", node)
}

func (l *Lab) serving(ctx context.Context, node string) ([]string, error) {
	services, err := l.Weir(node).Services(ctx)
	var got []string
	for _, s := range services {
		if !s.Programmed {
			got = append(got, fmt.Sprintf("%s is not programmed: %v", s.Name, s.Conditions))
			continue
		}
		for _, b := range s.BackendStates {
			at := netip.AddrPortFrom(s.VIP, s.Port)
			got = append(got, fmt.Sprintf("%s %s %s %s", s.Name, at, netip.AddrPortFrom(b.Address, b.Port), b.State))
		}
	}
	return got, err
}

// ExpectRoutes waits until the client's and the workers' kernels lead to the
// VIP by this master; the zero address stands for no route.
func (l *Lab) ExpectRoutes(ctx context.Context, via netip.Addr) {
	ginkgo.GinkgoHelper()
	for _, node := range append([]string{"client"}, Workers...) {
		harness.Soon(ctx, func(ctx context.Context) (netip.Addr, error) { return l.NextHop(ctx, node) }).
			WithPolling(100*time.Millisecond).Should(gomega.Equal(via), "the route of %s", node)
	}
}

// via takes the next hop of a route, also of one that zebra made by way of a
// next hop object.
var via = regexp.MustCompile(`^\S+ (?:nhid \d+ )?via (\S+) dev `)

// NextHop is where the node's kernel sends packets to the VIP; zero without a
// route.
func (l *Lab) NextHop(ctx context.Context, node string) (netip.Addr, error) {
	out, err := l.Node(node).Run(ctx, "ip", "route", "show", VIP.String())
	if err != nil || out == "" {
		return netip.Addr{}, err
	}
	m := via.FindStringSubmatch(out)
	if m == nil {
		return netip.Addr{}, fmt.Errorf("read route of %s: no single next hop in %q", node, out)
	}
	return netip.ParseAddr(m[1])
}

// Pods are those that answer for a service.
func (l *Lab) Pods(s Service) []string {
	pods := []string{s.Pod}
	if e, ok := l.Second[s.Name]; ok {
		pods = append(pods, e.Pod)
	}
	return pods
}

// Ask asks every service once and says what is wrong with the answers, "" when
// each came from a right pod, which saw the client as the VIP. At which port
// depends on the node: a standby takes ports from a range of its own.
func (l *Lab) Ask(ctx context.Context, timeout time.Duration, services ...Service) string {
	wrong := ""
	for _, s := range services {
		r := s.Request()
		r.Timeout = timeout
		a, err := l.Requests.Do(ctx, r)
		switch {
		case err != nil:
			wrong += fmt.Sprintf("%s: %v\n", s.Name, err)
		case !slices.Contains(l.Pods(s), a.Backend) || a.SeenClient.Addr() != VIP:
			wrong += fmt.Sprintf("%s: expected an answer of %s, which saw %s; got %s\n", s.Name, strings.Join(l.Pods(s), " or "), VIP, a)
		}
	}
	return wrong
}

// ExpectAnswers waits until every service answers. One request may be lost
// while routes move, so a test that forbids that asks by itself.
func (l *Lab) ExpectAnswers(ctx context.Context, services ...Service) {
	ginkgo.GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) string { return l.Ask(ctx, time.Second, services...) }).Should(gomega.BeEmpty())
}

// Counters are the node's, read while nothing moved: the sum of what the audit
// adds up (api/v1.Counters) is taken per CPU, not at one instant.
func (l *Lab) Counters(ctx context.Context, node string) v1.Counters {
	ginkgo.GinkgoHelper()
	var c v1.Counters
	harness.Soon(ctx, func(ctx context.Context) (string, error) {
		var err error
		c, err = l.Weir(node).Counters(ctx)
		return Unaccounted(c), err
	}).Should(gomega.BeEmpty(), "every packet of %s is accounted for", node)
	return c
}

// Unaccounted says by how much the counters do not add up, "" when they do.
func Unaccounted(c v1.Counters) string {
	var dropped uint64
	for _, d := range c.Drops {
		dropped += d.Count
	}
	if c.In == c.Forwarded+c.Passed+dropped {
		return ""
	}
	return fmt.Sprintf("in %d is not forwarded %d + passed %d + dropped %d", c.In, c.Forwarded, c.Passed, dropped)
}
