package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/spec"
)

// second is a pod that a service has beside the article's, on the other worker: with
// one alone a flow that was forgotten and made anew would come to where it was.
type second struct {
	Service // of the article

	worker *worker
	pod    netip.Addr
}

// worker is where a second pod is.
type worker struct {
	name    string
	address netip.Addr
	gateway netip.Addr // of its pods
}

var (
	worker1 = &worker{"worker1", netip.MustParseAddr("192.168.80.101"), netip.MustParseAddr("10.42.2.1")}
	worker2 = &worker{"worker2", netip.MustParseAddr("192.168.80.102"), netip.MustParseAddr("10.42.3.1")}

	seconds = []second{
		{Nginx, worker2, netip.MustParseAddr("10.42.3.5")},
		{UDP, worker1, netip.MustParseAddr("10.42.2.4")},
		{SCTP, worker2, netip.MustParseAddr("10.42.3.6")},
	}
)

// UpPairs is Up with two pods for each service.
func UpPairs(ctx context.Context, o harness.Options) *Lab {
	ginkgo.GinkgoHelper()
	change := o.Change
	o.Change = func(p *spec.Page) {
		for _, s := range seconds {
			s.add(p)
		}
		if change != nil {
			change(p)
		}
	}
	l := UpPage(ctx, "article", o)
	l.Second = map[string]Endpoint{}
	for _, s := range seconds {
		l.Second[s.Name] = Endpoint{Pod: s.name(), NodePort: netip.AddrPortFrom(s.worker.address, s.NodePort.Port())}
	}
	l.ExpectConverged(ctx, Master1)
	return l
}

func (s second) name() string { return s.Pod + "-2" }

// add puts the pod into the page: with a cable, behind the service's NodePort of its
// worker, and in the service's EndpointSlice.
func (s second) add(p *spec.Page) {
	ginkgo.GinkgoHelper()
	pod := *p.Nodes[s.Pod]
	pod.Name = s.name()
	pod.Interfaces = map[string]*spec.Interface{"eth0": {Addresses: []netip.Prefix{netip.PrefixFrom(s.pod, 24)}}}
	pod.Routes = []spec.Route{{To: pod.Routes[0].To, Via: s.worker.gateway}}
	p.Nodes[pod.Name] = &pod
	p.Order = append(p.Order, pod.Name)

	bridge := p.Nodes[s.worker.name].Interfaces["cni0"]
	veth := fmt.Sprintf("veth%d", len(bridge.Bridge))
	bridge.Bridge = append(bridge.Bridge, veth)
	p.Links = append(p.Links, spec.Link{
		Endpoints: []spec.Endpoint{{Node: pod.Name, Interface: "eth0"}, {Node: s.worker.name, Interface: veth}}, MTU: bridge.MTU,
	})

	for i := range p.KubeProxy.Services {
		if service := &p.KubeProxy.Services[i]; service.Name == "default/"+s.Name {
			service.Endpoints = append(service.Endpoints, netip.AddrPortFrom(s.pod, s.PodPort.Port()))
		}
	}
	const endpoint = "- addresses: ["
	manifest := string(p.ManifestFiles[s.Manifest])
	gomega.Expect(strings.Count(manifest, endpoint)).To(gomega.Equal(1), "endpoints in %s", s.Manifest)
	_, first, _ := strings.Cut(manifest, endpoint)
	another := strings.NewReplacer(s.PodPort.Addr().String(), s.pod.String(), s.Worker, s.worker.name, s.Pod, pod.Name).Replace(endpoint + first)
	p.ManifestFiles[s.Manifest] = append(bytes.TrimRight([]byte(manifest), "\n"), "\n"+another...)
}
