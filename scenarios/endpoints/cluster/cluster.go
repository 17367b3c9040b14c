// Package cluster is a small cluster that kube-weir reads from manifests: one
// load balancer, two workers with a pod each. Routes are by hand, so that a
// change of a manifest has only kube-weir and weir on its way.
//
//	client .1 -- 192.0.2.0/24 -- .10 lb .10 -- 198.51.100.0/24 -- .101 worker1 -- pod1
//	                                                           -- .102 worker2 -- pod2
package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// page is relative to the folder of a suite, in which its tests run.
const page = "../endpoints/cluster/page.yaml"

// Addresses of the page: VIP is the first of its pool of two.
var (
	VIP    = netip.MustParseAddr("203.0.113.1")
	Client = netip.MustParseAddr("192.0.2.1")
)

// Protocols are those of the page's node ports.
var Protocols = []probe.Protocol{probe.TCP, probe.UDP, probe.SCTP}

// Service is a Kubernetes Service, as far as a manifest of it differs from
// others. The zero value of an optional field leaves its line out.
type Service struct {
	Name     string
	Protocol probe.Protocol
	Port     int
	// Extra are lines of the spec, Annotations of the metadata. Optional.
	Extra, Annotations []string
	// PortFields take the place of the port's, as "port: 1". Optional.
	PortFields []string
}

// Of is the service of a protocol, named after it, at port 8000 of the VIP.
func Of(p probe.Protocol) Service { return Service{Name: string(p), Protocol: p, Port: 8000} }

var nodePorts = map[probe.Protocol]int{probe.TCP: 30001, probe.UDP: 30002, probe.SCTP: 30003}

var podPorts = map[probe.Protocol]int{probe.TCP: 8080, probe.UDP: 33333, probe.SCTP: 9999}

// File is the name of the service's manifest.
func (s Service) File() string { return s.Name + ".yml" }

// Request asks the service at the VIP.
func (s Service) Request() probe.Request {
	return probe.Request{Protocol: s.Protocol, Target: netip.AddrPortFrom(VIP, uint16(s.Port))}
}

// Manifest is the service with its EndpointSlice of pods ("pod1", "pod2").
func (s Service) Manifest(pods ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n", s.Name)
	if len(s.Annotations) > 0 {
		fmt.Fprintf(&b, "  annotations:\n    %s\n", strings.Join(s.Annotations, "\n    "))
	}
	b.WriteString("spec:\n  type: LoadBalancer\n  loadBalancerClass: loxilb.io/loxilb\n  externalTrafficPolicy: Local\n")
	for _, line := range s.Extra {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fields := s.PortFields
	if fields == nil {
		fields = []string{
			fmt.Sprintf("port: %d", s.Port), fmt.Sprintf("nodePort: %d", nodePorts[s.Protocol]),
			fmt.Sprintf("targetPort: %d", podPorts[s.Protocol]), "protocol: " + strings.ToUpper(string(s.Protocol)),
		}
	}
	fmt.Fprintf(&b, "  ports:\n  - {%s}\n", strings.Join(fields, ", "))
	b.WriteString(s.slice(pods))
	return b.String()
}

func (s Service) slice(pods []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: %s-k4v2z\n", s.Name)
	fmt.Fprintf(&b, "  labels: {kubernetes.io/service-name: %s}\naddressType: IPv4\n", s.Name)
	fmt.Fprintf(&b, "ports:\n- {name: \"\", port: %d, protocol: %s}\n", podPorts[s.Protocol], strings.ToUpper(string(s.Protocol)))
	if len(pods) == 0 {
		b.WriteString("endpoints: []\n")
		return b.String()
	}
	b.WriteString("endpoints:\n")
	for _, pod := range pods {
		n := strings.TrimPrefix(pod, "pod")
		fmt.Fprintf(&b, "- addresses: [10.42.%s.5]\n  nodeName: worker%s\n  conditions: {ready: true}\n", n, n)
	}
	return b.String()
}

// Lab is the running page with a client for requests.
type Lab struct {
	*harness.Scenario
	Requests *probe.Client
	// Controller asks kube-weir.
	Controller *client.Client
}

// Up brings the page up for the present spec or container, without services.
func Up(ctx context.Context, o harness.Options) *Lab {
	ginkgo.GinkgoHelper()
	l := &Lab{Scenario: harness.Up(ctx, page, o)}
	l.Requests = &probe.Client{Enter: l.Node("client").Do}
	ginkgo.DeferCleanup(l.Requests.Close)
	var err error
	l.Controller, err = client.New(client.Options{Node: "worker1", Socket: l.ControllerSocket()})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ginkgo.DeferCleanup(l.Controller.Close)
	return l
}

// ControllerSocket is kube-weir's API.
func (l *Lab) ControllerSocket() string {
	return filepath.Join(l.Node("worker1").Dir(), "kube-weir.sock")
}

// Deploy writes the service's manifest.
func (l *Lab) Deploy(s Service, pods ...string) {
	ginkgo.GinkgoHelper()
	l.Write(s.File(), s.Manifest(pods...))
}

// Write puts a manifest in place.
func (l *Lab) Write(name, content string) {
	ginkgo.GinkgoHelper()
	gomega.Expect(l.WriteManifest(name, []byte(content))).To(gomega.Succeed())
}

// ExpectBackends waits until weir serves the service with just these pods.
func (l *Lab) ExpectBackends(ctx context.Context, s Service, pods ...string) {
	ginkgo.GinkgoHelper()
	slices.Sort(pods)
	harness.Soon(ctx, func(ctx context.Context) ([]string, error) {
		services, err := l.Weir("lb").Services(ctx)
		got := []string{"not served"}
		for _, have := range services {
			if have.Name == "default/"+s.Name && have.Programmed {
				got = backends(have)
			}
		}
		return got, err
	}).Should(gomega.HaveExactElements(elements(pods)...), "backends of %s", s.Name)
}

// backends names the pods that stand behind the service's node ports.
func backends(s v1.ServiceStatus) []string {
	var pods []string
	for _, b := range s.BackendStates {
		name := "pod" + strings.TrimPrefix(b.Address.String(), "198.51.100.10")
		if b.State != v1.BackendActive {
			name += " " + b.State
		}
		pods = append(pods, name)
	}
	slices.Sort(pods)
	return pods
}

func elements(names []string) []any {
	all := make([]any, len(names))
	for i, n := range names {
		all[i] = n
	}
	return all
}
