package decide

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// lb builds a Service of LoxiLB's class; ports are written as 80:30080/TCP.
func lb(name string, edits ...func(*corev1.Service)) *corev1.Service {
	class := ClassLoxiLB
	s := &corev1.Service{}
	s.Namespace, s.Name = "default", name
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Spec.LoadBalancerClass = &class
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	for _, e := range edits {
		e(s)
	}
	return s
}

func ports(texts ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for _, text := range texts {
			var p corev1.ServicePort
			numbers, protocol, _ := strings.Cut(text, "/")
			if _, err := fmt.Sscanf(numbers, "%d:%d", &p.Port, &p.NodePort); err != nil {
				panic(err)
			}
			p.Protocol = corev1.Protocol(protocol)
			if len(texts) > 1 {
				p.Name = fmt.Sprintf("p%d", p.Port)
			}
			s.Spec.Ports = append(s.Spec.Ports, p)
		}
	}
}

func note(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, key, value) }
}

func spec(edit func(*corev1.ServiceSpec)) func(*corev1.Service) {
	return func(s *corev1.Service) { edit(&s.Spec) }
}

func cluster4(s *corev1.ServiceSpec) {
	s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
}

func noNodePorts(s *corev1.ServiceSpec) { s.AllocateLoadBalancerNodePorts = new(bool) }

// families says what a Service wants of IPv4 and IPv6, as an apiserver writes
// it; an empty policy leaves it out.
func families(policy string, list ...corev1.IPFamily) func(*corev1.Service) {
	return spec(func(s *corev1.ServiceSpec) {
		s.IPFamilies = list
		if p := corev1.IPFamilyPolicy(policy); p != "" {
			s.IPFamilyPolicy = &p
		}
	})
}

// sixth makes a slice one of IPv6.
func sixth(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	s.AddressType, s.Name = discoveryv1.AddressTypeIPv6, s.Name+"-6"
	return s
}

// ending says of a slice's endpoints that their pods were told to end, and
// whether they still serve.
func ending(s *discoveryv1.EndpointSlice, serving bool) *discoveryv1.EndpointSlice {
	terminating := true
	for i := range s.Endpoints {
		s.Endpoints[i].Conditions.Terminating, s.Endpoints[i].Conditions.Serving = &terminating, &serving
	}
	return s
}

// slice builds the EndpointSlice of a Service in namespace default. Ports are
// name=number, endpoints address@node, with a leading ! where not ready.
func slice(service, portList string, endpoints ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}
	s.Namespace, s.Name = "default", service+"-slice"
	s.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	for text := range strings.SplitSeq(portList, ",") {
		name, number, _ := strings.Cut(text, "=")
		var port int32
		if _, err := fmt.Sscan(number, &port); err != nil {
			panic(err)
		}
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &name, Port: &port})
	}
	for _, text := range endpoints {
		text, down := strings.CutPrefix(text, "!")
		address, node, hasNode := strings.Cut(text, "@")
		ready := !down
		e := discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		if hasNode {
			e.NodeName = &node
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func node(name, address string, edits ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{}
	n.Name = name
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: address}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, e := range edits {
		e(n)
	}
	return n
}

// lbSlice and peerSlice are where weir runs.
func lbSlice(endpoints ...string) *discoveryv1.EndpointSlice {
	return slice("loxilb-lb-service", "loxilb-app-bgp=179,loxilb-app=11111", endpoints...)
}
func peerSlice(endpoints ...string) *discoveryv1.EndpointSlice {
	return slice("loxilb-peer-service", "loxilb-peer-app=11111", endpoints...)
}

// twoByTwo is the article's cluster without its services.
func twoByTwo() controller.Snapshot {
	return controller.Snapshot{
		Slices: []*discoveryv1.EndpointSlice{
			lbSlice("192.168.80.10@master1", "192.168.80.11@master2"),
			peerSlice("192.168.80.101@worker1", "192.168.80.102@worker2"),
		},
		Nodes: []*corev1.Node{
			node("master1", "192.168.80.10"), node("master2", "192.168.80.11"),
			node("worker1", "192.168.80.101"), node("worker2", "192.168.80.102"),
		},
	}
}

func articleConfig(t testing.TB) controller.Config {
	return controller.Config{
		Pools: mustPools(t, "123.123.123.1/24"), SetRoles: true, Mode: v1.ModeDefault,
		BGP: &controller.BGP{
			ASN: 64512, ListenPort: 179,
			External: []controller.ExternalPeer{{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101}},
		},
	}
}

func mustPools(t testing.TB, list string) []ipam.Pool {
	t.Helper()
	pools, err := ipam.ParsePools(list)
	if err != nil {
		t.Fatal(err)
	}
	return pools
}

// printFrontends writes a state's services one a line:
// 10.0.0.1:80/tcp fullnat probed -> 192.168.80.101:30080 x2, ... (name).
func printFrontends(services []v1.Service) []string {
	var out []string
	for _, s := range services {
		var backends []string
		for _, b := range s.Backends {
			text := netip.AddrPortFrom(b.Address, b.Port).String()
			if b.Weight != 0 {
				text += fmt.Sprintf(" x%d", b.Weight)
			}
			if b.LB {
				text += " lb"
			}
			backends = append(backends, text)
		}
		probed := ""
		if s.Algorithm != v1.RoundRobin {
			probed = " by " + string(s.Algorithm)
		}
		if s.Monitor {
			probed += " probed"
		}
		if s.IdleTimeout > 0 {
			probed += fmt.Sprintf(" idle %d s", s.IdleTimeout)
		}
		if s.Affinity > 0 {
			probed += fmt.Sprintf(" kept %d s", s.Affinity)
		}
		for _, p := range s.Sources {
			probed += " from " + p.String()
		}
		out = append(out, fmt.Sprintf("%s %s%s -> %s (%s)", s.Frontend, s.Mode, probed, strings.Join(backends, ", "), s.Name))
	}
	return out
}

// printConditions writes conditions as Accepted=true/Valid.
func printConditions(s v1.ControllerService) string {
	var out []string
	for _, c := range s.Conditions {
		out = append(out, fmt.Sprintf("%s=%t/%s", c.Type, c.Status, c.Reason))
	}
	return strings.Join(out, " ")
}

func printRoles(roles []v1.Role) string {
	var out []string
	for _, r := range roles {
		out = append(out, fmt.Sprintf("%s:%d/%d", r.VIP, r.Rank, r.Nodes))
	}
	return strings.Join(out, " ")
}

func serviceOf(t testing.TB, d Decision, name string) v1.ControllerService {
	t.Helper()
	for _, s := range d.Services {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no service %s among %d", name, len(d.Services))
	return v1.ControllerService{}
}

func nodeOf(t testing.TB, d Decision, name string) Node {
	t.Helper()
	for _, n := range d.Nodes {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("no node %s among %d", name, len(d.Nodes))
	return Node{}
}

func from(ranges ...string) func(*corev1.Service) {
	return spec(func(s *corev1.ServiceSpec) { s.LoadBalancerSourceRanges = ranges })
}

// affinity asks that clients keep their backend; 0 says nothing of the time.
func affinity(seconds int32) func(*corev1.Service) {
	return spec(func(s *corev1.ServiceSpec) {
		s.SessionAffinity = corev1.ServiceAffinityClientIP
		if seconds > 0 {
			s.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
		}
	})
}

var compareAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func hold(address string, port uint16) ipam.Hold {
	h := ipam.Hold{Ports: []ipam.Port{{Number: port, Protocol: v1.TCP}}}
	h.Set(netip.MustParseAddr(address))
	return h
}

func ingress(ip, host string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip, Hostname: host}}
	}
}
