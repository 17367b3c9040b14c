package decide

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// FuzzTold holds that what a status says of held addresses is read as addresses of
// their families and ports of protocols, or not at all, and that what would be
// written of it says the same.
func FuzzTold(f *testing.F) {
	f.Add("192.0.2.1", "", int32(80), "TCP", "2001:db8::1 for 80/tcp, 53/udp")
	f.Add("", "llb-192.0.2.1", int32(0), "", "192.0.2.1, 2001:db8::1 for 9999/sctp")
	f.Add("fe80::1%eth0", "", int32(65536), "TCP", "fe80::1%eth0 for 80/tcp")
	f.Add("::ffff:192.0.2.1", "", int32(-1), "ICMP", "::ffff:192.0.2.1 for 080/tcp")
	f.Add("192.0.2.1", "lb.example.com", int32(53), "UDP", "192.0.2.1 for ")
	f.Add("", "", int32(1), "SCTP", "192.0.2.1, 192.0.2.2 for 80/tcp, 80/tcp")
	f.Fuzz(func(t *testing.T, ip, host string, port int32, protocol, message string) {
		condition := metav1.Condition{Type: prefixWeir + v1.ConditionReserved, Message: message}
		status := corev1.ServiceStatus{Conditions: []metav1.Condition{condition}}
		status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{
			IP: ip, Hostname: host, Ports: []corev1.PortStatus{{Port: port, Protocol: corev1.Protocol(protocol)}},
		}}
		h := readTold(status)
		for _, a := range h.List() {
			if a.Zone() != "" || a.Is4In6() || h.Of(a.Is6()) != a {
				t.Fatalf("%s is held, in the place of IPv6: %t", a, h.Of(true) == a)
			}
		}
		for _, p := range h.Ports {
			if _, err := fmt.Sscanf(p.String(), "%d/", new(uint16)); err != nil || p.Number == 0 || !slices.Contains([]v1.Protocol{v1.TCP, v1.UDP, v1.SCTP}, p.Protocol) {
				t.Fatalf("port %s is held", p)
			}
		}
		kept := readReserved(status.Conditions)
		if (len(kept.List()) == 0) != (len(kept.Ports) == 0) {
			t.Fatalf("%q holds %+v: addresses without ports, or the other way", message, kept)
		}
		if len(kept.Ports) == 0 {
			return
		}
		condition.Message = reserved(kept.List(), kept.Ports).Message
		if again := readReserved([]metav1.Condition{condition}); !reflect.DeepEqual(again, kept) {
			t.Fatalf("%q holds %+v; written as %q it holds %+v", message, kept, condition.Message, again)
		}
	})
}

// FuzzSources holds that source ranges let in what their owner wrote of the family,
// and are refused in one line rather than open to all.
func FuzzSources(f *testing.F) {
	f.Add("10.0.0.0/8,192.0.2.1/32, 10.0.0.0/8", false)
	f.Add("2001:db8::/32,192.0.2.0/24", true)
	f.Add("2001:db8::/32", false)
	f.Add("::ffff:192.0.2.0/120", true)
	f.Add("fe80::%eth0/64", true)
	f.Add("0.0.0.0/0", false)
	f.Add("10.0.0.1", false)
	f.Add("10.0.0.0/33,", false)
	f.Fuzz(func(t *testing.T, list string, ipv6 bool) {
		texts := strings.Split(list, ",")
		sources, bad := readSources("spec", texts, ipv6)
		if bad != nil {
			if bad.reason != ReasonInvalidSourceRange || strings.Contains(bad.message, "\n") || len(sources) > 0 {
				t.Fatalf("%v is refused as %+v", sources, bad)
			}
			return
		}
		if len(sources) == 0 || len(sources) > v1.MaxSources || !slices.IsSortedFunc(sources, netip.Prefix.Compare) {
			t.Fatalf("%q lets %v in", list, sources)
		}
		for _, p := range sources {
			if p != p.Masked() || p.Addr().Is6() != ipv6 || p.Addr().Is4In6() {
				t.Fatalf("%q lets %s in, IPv6: %t", list, p, ipv6)
			}
		}
		for _, text := range texts {
			first, _, _ := strings.Cut(strings.TrimSpace(text), "/")
			a, err := netip.ParseAddr(first)
			if err == nil && a.Is6() == ipv6 && !slices.ContainsFunc(sources, func(p netip.Prefix) bool { return p.Contains(a) }) {
				t.Fatalf("%q lets %v in, without %s", list, sources, a)
			}
		}
	})
}

// FuzzEndpointSlices holds that no endpoint which somebody may write keeps a node
// from its state: each is told addresses of the cluster that it takes, or none.
func FuzzEndpointSlices(f *testing.F) {
	f.Add("10.244.1.5", "worker1", "http", int32(8080), uint8(0), "192.168.80.101")
	f.Add(" 10.244.1.5", "worker2", "", int32(0), uint8(1), "192.168.80.102")
	f.Add("0.0.0.0", "", "http", int32(65535), uint8(2), "0.0.0.0")
	f.Add("127.0.0.1", "master1", "http", int32(65536), uint8(3), "127.0.0.1")
	f.Add("224.0.0.1", "worker1", "http", int32(-1), uint8(0), "255.255.255.255")
	f.Add("123.123.123.1", "worker1", "http", int32(80), uint8(0), "123.123.123.1")
	f.Add("2001:db8::1", "worker1", "http", int32(80), uint8(4), "fe80::1%eth0")
	f.Add("::ffff:10.0.0.1", "worker1", "http", int32(80), uint8(5), "not an address")
	f.Fuzz(func(t *testing.T, address, nodeName, portName string, port int32, choice uint8, nodeAddress string) {
		yes, no := true, false
		condition := [](*bool){nil, &yes, &no}[choice%3]
		snap := twoByTwo()
		snap.Nodes = append(snap.Nodes, node("fuzz", nodeAddress))
		pods := note(annotationPodNetwork, "yes")
		if choice&1 != 0 {
			pods = func(*corev1.Service) {}
		}
		snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"), pods, func(s *corev1.Service) { s.Spec.Ports[0].Name = portName })}
		for _, where := range []string{"a", "loxilb-lb-service"} {
			s := slice(where, "=1")
			s.Ports[0].Name, s.Ports[0].Port = &portName, &port
			for _, n := range []string{nodeName, "fuzz"} {
				s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, NodeName: &n,
					Conditions: discoveryv1.EndpointConditions{Ready: condition, Serving: condition, Terminating: condition}})
			}
			snap.Slices = append(snap.Slices, s)
		}
		for _, n := range Decide(snap, articleConfig(t), controller.Memory{}).Nodes {
			if err := v1.ValidateState(n.State); err != nil {
				t.Fatalf("node %s is told what it refuses: %v", n.Name, err)
			}
		}
	})
}
