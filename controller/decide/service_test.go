package decide

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

const (
	good       = "Accepted=true/Valid Allocated=true/Assigned Reachable=true/EndpointsReady"
	notReached = "Accepted=true/Valid Allocated=true/Assigned Reachable=false/"
	refused    = "Allocated=false/NotAccepted"
)

// TestService decides on one service at a time in the article's cluster. Each
// has a neighbour that must not notice.
func TestService(t *testing.T) {
	type world struct {
		service *corev1.Service
		slices  []*discoveryv1.EndpointSlice
		nodes   []*corev1.Node // beside the article's
		cfg     func(*controller.Config)
		last    controller.Memory
	}
	excluded := func(n *corev1.Node) { n.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""} }
	unready := func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }
	onWorker1 := []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.2.5@worker1")}
	nodesInPool := []*corev1.Node{node("worker3", "10.0.0.1"), node("edge", "192.168.80.104", func(n *corev1.Node) {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "10.0.0.2"},
			corev1.NodeAddress{Type: corev1.NodeHostName, Address: "10.0.0.3"})
	})}
	for _, row := range []struct {
		says       string
		in         world
		conditions string
		message    string // part of the message of a false condition
		frontends  []string
	}{
		// Modes and annotations.
		{"no annotation: default mode, no probes", world{service: lb("a", ports("80:30080/TCP")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"--setLBMode and --monitor count where no annotation is",
			world{service: lb("a", ports("80:30080/TCP")), slices: onWorker1,
				cfg: func(c *controller.Config) { c.Mode, c.Monitor = v1.ModeOneArm, true }},
			good, "", []string{"10.0.0.1:80/tcp onearm probed -> 192.168.80.101:30080 (default/a)"}},
		{"annotations win over flags",
			world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/lbmode", "fullnat"), note("loxilb.io/liveness", "no")), slices: onWorker1,
				cfg: func(c *controller.Config) { c.Mode, c.Monitor = v1.ModeOneArm, true }},
			good, "", []string{"10.0.0.1:80/tcp fullnat -> 192.168.80.101:30080 (default/a)"}},
		{"weir's own annotation wins over LoxiLB's, and its class is served",
			world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/lbmode", "nonsense"), note("weir-lb.io/lbmode", "onearm"),
				spec(func(s *corev1.ServiceSpec) { c := ClassWeir; s.LoadBalancerClass = &c })), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp onearm -> 192.168.80.101:30080 (default/a)"}},
		{"an unknown mode", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/lbmode", "fulnat")), slices: onWorker1},
			"Accepted=false/UnknownMode " + refused, `loxilb.io/lbmode: unknown mode "fulnat"; use default, onearm or fullnat`, nil},
		{"a mode of LoxiLB that is not served yet", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/lbmode", "dsr")), slices: onWorker1},
			"Accepted=false/UnknownMode " + refused, "mode dsr is not served; use default", nil},
		{"liveness that is neither yes nor no", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/liveness", "maybe")), slices: onWorker1},
			"Accepted=false/InvalidAnnotation " + refused, `"maybe" is neither yes nor no`, nil},
		{"annotations without effect are named and cost nothing",
			world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/epselect", "lc"), note("loxilb.io/zoneselect", "60")), slices: onWorker1},
			"Accepted=true/ValidWithIgnored Allocated=true/Assigned Reachable=true/EndpointsReady",
			"", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"a backend by hash", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/epselect", "hash")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default by hash -> 192.168.80.101:30080 (default/a)"}},
		{"by hash, and clients keep it: both reach the nodes, where that wins",
			world{service: lb("a", ports("80:30080/TCP"), affinity(60), note("weir-lb.io/epselect", "hash")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default by hash kept 60 s -> 192.168.80.101:30080 (default/a)"}},
		{"round robin is what there is otherwise, so asking for it is no warning",
			world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/epselect", "rr")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},

		// Endpoints on load balancer nodes.
		{"a NodePort of a load balancer node is marked",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.0.5@master1", "10.42.2.5@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.10:30080 lb, 192.168.80.101:30080 (default/a)"}},
		{"a pod on a load balancer node is marked",
			world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/usepodnetwork", "yes")),
				slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.1.5@master2", "10.42.2.5@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 10.42.1.5:8080 lb, 10.42.2.5:8080 (default/a)"}},

		{"a time-out in seconds, as LoxiLB has it", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/timeout", "1800")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default idle 1800 s -> 192.168.80.101:30080 (default/a)"}},
		{"a time-out with its unit", world{service: lb("a", ports("80:30080/TCP"), note("weir-lb.io/timeout", "24h")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default idle 86400 s -> 192.168.80.101:30080 (default/a)"}},
		{"a time-out that is none", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/timeout", "soon")), slices: onWorker1},
			"Accepted=false/InvalidAnnotation " + refused, `loxilb.io/timeout: "soon" is no time-out; use whole seconds, 1 to 86400, or a duration such as 30m`, nil},
		{"a time-out of nothing", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/timeout", "0")), slices: onWorker1},
			"Accepted=false/InvalidAnnotation " + refused, `"0" is no time-out`, nil},
		{"a time-out of more than a day", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/timeout", "86401")), slices: onWorker1},
			"Accepted=false/InvalidAnnotation " + refused, `"86401" is no time-out`, nil},
		{"a time-out of half a second", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/timeout", "1500ms")), slices: onWorker1},
			"Accepted=false/InvalidAnnotation " + refused, `"1500ms" is no time-out`, nil},

		// Ports.
		{"several ports, one with two protocols",
			world{service: lb("a", ports("53:30053/TCP", "53:30054/UDP", "443:30443/SCTP")),
				slices: []*discoveryv1.EndpointSlice{slice("a", "p53=8053,p443=8443", "10.42.2.5@worker1")}},
			good, "", []string{
				"10.0.0.1:53/tcp default -> 192.168.80.101:30053 (default/a:p53)",
				"10.0.0.1:53/udp default -> 192.168.80.101:30054 (default/a:p53)",
				"10.0.0.1:443/sctp default -> 192.168.80.101:30443 (default/a:p443)"}},
		{"no protocol means TCP, as in Kubernetes", world{service: lb("a", ports("80:30080/")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"an unknown protocol", world{service: lb("a", ports("80:30080/DCCP")), slices: onWorker1},
			"Accepted=false/InvalidProtocol " + refused, `spec.ports[0].protocol: unknown protocol "DCCP"; use TCP, UDP or SCTP`, nil},
		{"port 0 of the second port refuses the whole service", world{service: lb("a", ports("80:30080/TCP", "0:30081/TCP")), slices: onWorker1},
			"Accepted=false/InvalidPort " + refused, "spec.ports[1].port: 0 is no port; use 1 to 65535", nil},
		{"port 65536", world{service: lb("a", ports("65536:30080/TCP")), slices: onWorker1},
			"Accepted=false/InvalidPort " + refused, "65536 is no port", nil},
		{"no ports", world{service: lb("a"), slices: onWorker1},
			"Accepted=false/InvalidPort " + refused, "spec.ports is empty", nil},
		{"a port that is there twice", world{service: lb("a", ports("80:30080/TCP", "80:30081/TCP")), slices: onWorker1},
			"Accepted=false/InvalidPort " + refused, "spec.ports[1]: 80/tcp is spec.ports[0] already", nil},
		{"no node port", world{service: lb("a", ports("80:0/TCP")), slices: onWorker1},
			"Accepted=false/NoNodePort " + refused, "set loxilb.io/usepodnetwork to yes", nil},

		// Endpoints.
		{"Local: the nodes that have pods, weighted by their number",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.3.1@worker2", "10.42.2.5@worker1", "10.42.2.6@worker1"), slice("a", "=8080", "10.42.2.7@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 x3, 192.168.80.102:30080 x1 (default/a)"}},
		{"Local: equal numbers need no weights",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.3.1@worker2", "10.42.3.2@worker2", "10.42.2.5@worker1", "10.42.2.6@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080, 192.168.80.102:30080 (default/a)"}},
		{"an endpoint that two slices name while it moves counts once",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.2.5@worker1", "10.42.3.1@worker2"), slice("a", "=8080", "10.42.2.5@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080, 192.168.80.102:30080 (default/a)"}},
		{"an endpoint that is not ready counts for nothing",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "!10.42.2.5@worker1", "10.42.3.1@worker2")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.102:30080 (default/a)"}},
		{"no ready endpoint: served without backends, so that clients are refused at once",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "!10.42.2.5@worker1")}},
			notReached + "NoReadyEndpoints", "clients are refused until one is ready", []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"a slice of another port name is not this port's",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{slice("a", "http=8080", "10.42.2.5@worker1")}},
			notReached + "NoReadyEndpoints", `port 80/tcp (name "")`, []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"one of two ports without endpoints is told",
			world{service: lb("a", ports("80:30080/TCP", "81:30081/TCP")), slices: []*discoveryv1.EndpointSlice{slice("a", "p80=8080", "10.42.2.5@worker1")}},
			notReached + "NoReadyEndpoints", "port 81/tcp", []string{
				"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a:p80)", "10.0.0.1:81/tcp default ->  (default/a:p81)"}},
		{"Local: a node that nobody knows",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.2.5@worker9")}},
			notReached + "NoNodeAddress", `"worker9", but no such Node has an IPv4 InternalIP`, []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"Local: no node that is excluded or not ready, and the pods there do not weigh",
			world{service: lb("a", ports("80:30080/TCP")), nodes: []*corev1.Node{node("worker3", "192.168.80.103", unready), node("worker4", "192.168.80.104", excluded)},
				slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.2.5@worker1", "10.42.4.1@worker3", "10.42.5.1@worker4", "10.42.5.2@worker4")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"Local: a pod that ends on a node that may be a backend serves until its end",
			world{service: lb("a", ports("80:30080/TCP")), nodes: []*corev1.Node{node("worker3", "192.168.80.103", func(n *corev1.Node) { n.Spec.Unschedulable = true })},
				slices: []*discoveryv1.EndpointSlice{ending(slice("a", "=8080", "!10.42.4.1@worker3"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.103:30080 (default/a)"}},
		{"Local: pods on nodes that are excluded alone",
			world{service: lb("a", ports("80:30080/TCP")), nodes: []*corev1.Node{node("worker4", "192.168.80.104", excluded)},
				slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.5.1@worker4")}},
			notReached + "NoEligibleNode", "port 80/tcp: of the Nodes with endpoints none is ready and without the label " + corev1.LabelNodeExcludeBalancers,
			[]string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"usepodnetwork: pods on a node that is excluded as well",
			world{service: lb("a", ports("80:0/TCP"), note("loxilb.io/usepodnetwork", "yes")), nodes: []*corev1.Node{node("worker4", "192.168.80.104", excluded)},
				slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.5.1@worker4")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 10.42.5.1:8080 (default/a)"}},
		{"Cluster: every ready node without the exclusion label, masters too",
			world{service: lb("a", ports("80:30080/TCP"), spec(cluster4)), slices: onWorker1, nodes: []*corev1.Node{
				node("worker3", "192.168.80.103", unready),
				node("worker4", "192.168.80.104", excluded),
				node("worker5", "192.168.80.105", func(n *corev1.Node) { n.Status.Conditions = nil }),
				node("worker6", "2001:db8::6"),
			}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.10:30080 lb, 192.168.80.11:30080 lb, 192.168.80.101:30080, 192.168.80.102:30080, 192.168.80.105:30080 (default/a)"}},
		{"Cluster: without any endpoint no node is asked",
			world{service: lb("a", ports("80:30080/TCP"), spec(cluster4))},
			notReached + "NoReadyEndpoints", "no EndpointSlice of the service", []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"usepodnetwork: pod addresses and their ports, node ports not needed",
			world{service: lb("a", ports("80:0/TCP"), note("loxilb.io/usepodnetwork", "yes")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.3.1@worker2", "10.42.2.5@worker1", "!10.42.2.6@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 10.42.2.5:8080, 10.42.3.1:8080 (default/a)"}},

		{"allocateLoadBalancerNodePorts false: pod addresses, as there are no node ports",
			world{service: lb("a", ports("80:0/TCP"), spec(noNodePorts)), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.3.1@worker2", "10.42.2.5@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 10.42.2.5:8080, 10.42.3.1:8080 (default/a)"}},
		{"allocateLoadBalancerNodePorts false, with a node port from before",
			world{service: lb("a", ports("80:30080/TCP"), spec(noNodePorts)), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"allocateLoadBalancerNodePorts false, with a node port for one of two ports",
			world{service: lb("a", ports("80:30080/TCP", "81:0/TCP"), spec(noNodePorts)), slices: onWorker1},
			"Accepted=false/NoNodePort " + refused, "spec.ports[1].nodePort is missing", nil},
		{"an endpoint that ends takes nothing new while another is ready",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "!10.42.2.5@worker1", "10.42.3.1@worker2"), ending(slice("a", "=8080", "!10.42.2.6@worker1"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.102:30080 (default/a)"}},
		{"the last endpoint serves until its end; those that are only unready do not",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "!10.42.3.1@worker2"), ending(slice("a", "=8080", "!10.42.2.6@worker1"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"Cluster: so do all nodes for it",
			world{service: lb("a", ports("80:30080/TCP"), spec(cluster4)), slices: []*discoveryv1.EndpointSlice{
				ending(slice("a", "=8080", "!10.42.2.6@worker1"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.10:30080 lb, 192.168.80.11:30080 lb, 192.168.80.101:30080, 192.168.80.102:30080 (default/a)"}},
		{"Local: an endpoint that ends serves where those that are ready are on nodes that may be no backend",
			world{service: lb("a", ports("80:30080/TCP")), nodes: []*corev1.Node{node("worker4", "192.168.80.104", excluded)}, slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.5.1@worker4", "10.42.9.1@worker9"), ending(slice("a", "=8080", "!10.42.2.6@worker1", "!10.42.5.2@worker4"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"Local: nor does one that ends serve on such a node",
			world{service: lb("a", ports("80:30080/TCP")), nodes: []*corev1.Node{node("worker4", "192.168.80.104", excluded)}, slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.5.1@worker4", "!10.42.2.5@worker1"), ending(slice("a", "=8080", "!10.42.5.2@worker4"), true)}},
			notReached + "NoEligibleNode", "of the Nodes with endpoints none is ready", []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"Local: one that ends does not weigh beside those that are ready on its node",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.2.5@worker1", "10.42.3.1@worker2"), ending(slice("a", "=8080", "!10.42.2.6@worker1"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080, 192.168.80.102:30080 (default/a)"}},
		{"Cluster: on which nodes the endpoints are does not matter",
			world{service: lb("a", ports("80:30080/TCP"), spec(cluster4)), nodes: []*corev1.Node{node("worker4", "192.168.80.104", excluded)}, slices: []*discoveryv1.EndpointSlice{
				slice("a", "=8080", "10.42.5.1@worker4"), ending(slice("a", "=8080", "!10.42.2.6@worker1"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.10:30080 lb, 192.168.80.11:30080 lb, 192.168.80.101:30080, 192.168.80.102:30080 (default/a)"}},
		{"usepodnetwork: a ready pod is reached on a node that is excluded, so that one that ends takes nothing new",
			world{service: lb("a", ports("80:0/TCP"), note("loxilb.io/usepodnetwork", "yes")), nodes: []*corev1.Node{node("worker4", "192.168.80.104", excluded)},
				slices: []*discoveryv1.EndpointSlice{slice("a", "=8080", "10.42.5.1@worker4"), ending(slice("a", "=8080", "!10.42.2.6@worker1"), true)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 10.42.5.1:8080 (default/a)"}},
		{"an endpoint that ends and no longer serves counts for nothing",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{
				ending(slice("a", "=8080", "!10.42.2.6@worker1"), false)}},
			notReached + "NoReadyEndpoints", "clients are refused until one is ready", []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
		{"publishNotReadyAddresses: Kubernetes says ready of an endpoint that ends",
			world{service: lb("a", ports("80:30080/TCP"), spec(func(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true })),
				slices: []*discoveryv1.EndpointSlice{ending(slice("a", "=8080", "10.42.2.6@worker1"), false)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"so it does on the pod network",
			world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/usepodnetwork", "yes"), spec(func(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true })),
				slices: []*discoveryv1.EndpointSlice{ending(slice("a", "=8080", "10.42.2.6@worker1", "10.42.3.6@worker2"), false)}},
			good, "", []string{"10.0.0.1:80/tcp default -> 10.42.2.6:8080, 10.42.3.6:8080 (default/a)"}},

		// Addresses.
		{"spec.loadBalancerIP", world{service: lb("a", ports("80:30080/TCP"), spec(func(s *corev1.ServiceSpec) { s.LoadBalancerIP = "10.0.0.77" })), slices: onWorker1},
			good, "", []string{"10.0.0.77:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"loxilb.io/staticIP", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/staticIP", "10.0.0.78")), slices: onWorker1},
			good, "", []string{"10.0.0.78:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"two wishes that differ", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/staticIP", "10.0.0.78"),
			spec(func(s *corev1.ServiceSpec) { s.LoadBalancerIP = "10.0.0.77" })), slices: onWorker1},
			"Accepted=false/InvalidAddress " + refused, "keep one of them", nil},
		{"a wish that is no address", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/staticIP", "10.0.0.300")), slices: onWorker1},
			"Accepted=false/InvalidAddress " + refused, `loxilb.io/staticIP: "10.0.0.300" is no IPv4 address`, nil},
		{"which is named by the prefix that the Service has", world{service: lb("a", ports("80:30080/TCP"), note("weir-lb.io/staticIP", "10.0.0.300")), slices: onWorker1},
			"Accepted=false/InvalidAddress " + refused, `weir-lb.io/staticIP: "10.0.0.300" is no IPv4 address`, nil},
		{"an address that another service has", world{service: lb("a", ports("9000:30080/TCP"), note("loxilb.io/staticIP", "10.0.0.200")), slices: onWorker1},
			"Accepted=true/Valid Allocated=false/AddressInUse", "port 9000/tcp of 10.0.0.200 belongs to default/neighbour; use another port or address", nil},
		{"addresses of nodes in a pool are passed over", world{service: lb("a", ports("80:30080/TCP")), slices: onWorker1, nodes: nodesInPool},
			good, "", []string{"10.0.0.3:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"a node's address", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/staticIP", "10.0.0.2")), slices: onWorker1, nodes: nodesInPool},
			"Accepted=true/Valid Allocated=false/AddressOfNode", "10.0.0.2 belongs to node edge; ask for another one", nil},
		{"an address that came to be a node's is given back for another", world{service: lb("a", ports("80:30080/TCP")), slices: onWorker1, nodes: nodesInPool,
			last: controller.Memory{Addresses: map[string]ipam.Hold{"default/a": hold("10.0.0.1", 80)}}},
			good, "", []string{"10.0.0.3:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"an address outside of every pool", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/staticIP", "192.0.2.1")), slices: onWorker1},
			"Accepted=true/Valid Allocated=false/AddressOutsidePools", "192.0.2.1 is in no pool; use one of defaultPool", nil},
		{"poolSelect", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/poolSelect", "second")), slices: onWorker1},
			good, "", []string{"10.9.0.1:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"a pool that does not exist", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/poolSelect", "third")), slices: onWorker1},
			"Accepted=true/Valid Allocated=false/NoSuchPool", `"third"; use one of`, nil},
		{"an exhausted pool", world{service: lb("a", ports("9000:30080/TCP"), note("loxilb.io/poolSelect", "tiny")), slices: onWorker1,
			last: controller.Memory{Addresses: map[string]ipam.Hold{}}},
			"Accepted=true/Valid Allocated=false/PoolExhausted", "add addresses with --cidrPools or remove a service", nil},
		{"the address of the last decision is kept", world{service: lb("a", ports("80:30080/TCP")), slices: onWorker1,
			last: controller.Memory{Addresses: map[string]ipam.Hold{"default/a": hold("10.0.0.66", 80)}}},
			good, "", []string{"10.0.0.66:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"so is the address of a status", world{service: lb("a", ports("80:30080/TCP"), ingress("10.0.0.67", "")), slices: onWorker1},
			good, "", []string{"10.0.0.67:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"and of a status that LoxiLB wrote", world{service: lb("a", ports("80:30080/TCP"), ingress("", "llb-10.0.0.68")), slices: onWorker1},
			good, "", []string{"10.0.0.68:80/tcp default -> 192.168.80.101:30080 (default/a)"}},
		{"a service that went bad keeps its address for when it is mended, unserved",
			world{service: lb("a", ports("0:30080/TCP")), slices: onWorker1,
				last: controller.Memory{Addresses: map[string]ipam.Hold{"default/a": hold("10.0.0.66", 80)}}},
			"Accepted=false/InvalidPort " + refused + " Reserved=true/Reserved", "0 is no port", nil},

		// Clients.
		{"source ranges, sorted and once each",
			world{service: lb("a", ports("80:30080/TCP"), from("192.0.2.7/24", "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default from 10.0.0.0/8 from 192.0.2.0/24 -> 192.168.80.101:30080 (default/a)"}},
		{"source ranges in the annotation of old",
			world{service: lb("a", ports("80:30080/TCP"), note(annotationSourceRanges, " 10.0.0.0/8, 192.0.2.0/24 ")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default from 10.0.0.0/8 from 192.0.2.0/24 -> 192.168.80.101:30080 (default/a)"}},
		{"those of the spec win",
			world{service: lb("a", ports("80:30080/TCP"), from("192.0.2.0/24"), note(annotationSourceRanges, "10.0.0.0/8")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default from 192.0.2.0/24 -> 192.168.80.101:30080 (default/a)"}},
		{"a source range that is none", world{service: lb("a", ports("80:30080/TCP"), note(annotationSourceRanges, "10.0.0.0/8,home")), slices: onWorker1},
			"Accepted=false/InvalidSourceRange " + refused, annotationSourceRanges + `: "home" is no prefix, such as 192.0.2.0/24`, nil},
		{"source ranges of IPv6 alone do not open it to all", world{service: lb("a", ports("80:30080/TCP"), from("2001:db8::/32")), slices: onWorker1},
			"Accepted=false/InvalidSourceRange " + refused, "spec.loadBalancerSourceRanges has no IPv4 prefix", nil},
		{"clients keep their backend", world{service: lb("a", ports("80:30080/TCP"), affinity(0)), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default kept 10800 s -> 192.168.80.101:30080 (default/a)"}},
		{"as long as they are told to", world{service: lb("a", ports("80:30080/TCP"), affinity(60)), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default kept 60 s -> 192.168.80.101:30080 (default/a)"}},
		{"LoxiLB's word for it", world{service: lb("a", ports("80:30080/TCP"), note("loxilb.io/epselect", "persist")), slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp default kept 10800 s -> 192.168.80.101:30080 (default/a)"}},
		{"kube-proxy behind a source NAT keeps one pod for all, which is said",
			world{service: lb("a", ports("80:30080/TCP"), affinity(0), note("loxilb.io/lbmode", "fullnat")), slices: onWorker1},
			"Accepted=true/ValidWithIgnored Allocated=true/Assigned Reachable=true/EndpointsReady", "",
			[]string{"10.0.0.1:80/tcp fullnat kept 10800 s -> 192.168.80.101:30080 (default/a)"}},
		{"not with pod addresses",
			world{service: lb("a", ports("80:30080/TCP"), affinity(0), note("loxilb.io/lbmode", "fullnat"), note("loxilb.io/usepodnetwork", "yes")),
				slices: onWorker1},
			good, "", []string{"10.0.0.1:80/tcp fullnat kept 10800 s -> 10.42.2.5:8080 (default/a)"}},

		// Families.
		{"IPv6 where no pool has it", world{service: lb("a", ports("80:30080/TCP"), families("", "IPv6")), slices: onWorker1},
			"Accepted=true/Valid Allocated=false/NoAddressOfFamily", "and no IPv6 address; add some with --cidrPools", nil},
		{"IPv6 endpoints and Nodes leave the IPv4 half alone",
			world{service: lb("a", ports("80:30080/TCP"), spec(cluster4)), nodes: []*corev1.Node{
				node("worker3", "192.168.80.103", func(n *corev1.Node) {
					n.Status.Addresses = append([]corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "2001:db8:80::103"}}, n.Status.Addresses...)
				})},
				slices: []*discoveryv1.EndpointSlice{sixth(slice("a", "=8080", "2001:db8:42::5@worker1", "2001:db8:42::6@worker2")), slice("a", "=8080", "10.42.2.5@worker1")}},
			good, "", []string{"10.0.0.1:80/tcp default -> 192.168.80.10:30080 lb, 192.168.80.11:30080 lb, 192.168.80.101:30080, 192.168.80.102:30080, 192.168.80.103:30080 (default/a)"}},
		{"nor do they make the IPv4 half reachable",
			world{service: lb("a", ports("80:30080/TCP")), slices: []*discoveryv1.EndpointSlice{sixth(slice("a", "=8080", "2001:db8:42::5@worker1"))}},
			notReached + "NoReadyEndpoints", "clients are refused until one is ready", []string{"10.0.0.1:80/tcp default ->  (default/a)"}},
	} {
		t.Run(row.says, func(t *testing.T) {
			cfg := controller.Config{Pools: mustPools(t, "defaultPool=10.0.0.0/24,second=10.9.0.0/24,tiny=10.0.1.1/32"), SetRoles: true}
			if row.in.cfg != nil {
				row.in.cfg(&cfg)
			}
			// The neighbours were there first.
			row.in.service.CreationTimestamp = metav1.NewTime(time.Date(2023, 10, 17, 0, 0, 0, 0, time.UTC))
			snap := twoByTwo()
			snap.Services = []*corev1.Service{
				lb("neighbour", ports("9000:30900/TCP"), note("loxilb.io/staticIP", "10.0.0.200"), note("loxilb.io/lbmode", "onearm"), note("loxilb.io/liveness", "no")),
				lb("tenant", ports("9000:30901/TCP"), note("loxilb.io/staticIP", "10.0.1.1"), note("loxilb.io/lbmode", "onearm"), note("loxilb.io/liveness", "no")),
				row.in.service,
			}
			snap.Nodes = append(snap.Nodes, row.in.nodes...)
			snap.Slices = append(snap.Slices, slice("neighbour", "=9000", "10.42.2.9@worker2"), slice("tenant", "=9000", "10.42.2.8@worker2"))
			snap.Slices = append(snap.Slices, row.in.slices...)

			d := Decide(snap, cfg, row.in.last)

			s := serviceOf(t, d, "a")
			if got := printConditions(s); got != row.conditions {
				t.Errorf("conditions\ngot  %s\nwant %s", got, row.conditions)
			}
			if row.message != "" && !slices.ContainsFunc(s.Conditions, func(c v1.Condition) bool { return !c.Status && strings.Contains(c.Message, row.message) }) {
				t.Errorf("no false condition says %q:\n%+v", row.message, s.Conditions)
			}
			others := []string{
				"10.0.0.200:9000/tcp onearm -> 192.168.80.102:30900 (default/neighbour)",
				"10.0.1.1:9000/tcp onearm -> 192.168.80.102:30901 (default/tenant)",
			}
			var own, rest []string
			for _, line := range printFrontends(nodeOf(t, d, "master1").State.Services) {
				if strings.Contains(line, "(default/a") {
					own = append(own, line)
				} else {
					rest = append(rest, line)
				}
			}
			if diff := cmp.Diff(row.frontends, own); diff != "" {
				t.Errorf("frontends (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(others, rest); diff != "" {
				t.Errorf("the neighbours noticed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(nodeOf(t, d, "master1").State.Services, nodeOf(t, d, "master2").State.Services, compareAddrs); diff != "" {
				t.Errorf("master2 serves something else than master1:\n%s", diff)
			}
		})
	}
}

func TestServicesOfOthersAreIgnored(t *testing.T) {
	foreign := "metallb.io/metallb"
	snap := twoByTwo()
	snap.Services = []*corev1.Service{
		lb("other-class", ports("80:30080/TCP"), spec(func(s *corev1.ServiceSpec) { s.LoadBalancerClass = &foreign })),
		lb("no-class", ports("80:30080/TCP"), spec(func(s *corev1.ServiceSpec) { s.LoadBalancerClass = nil })),
		lb("cluster-ip", ports("80:30080/TCP"), spec(func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeClusterIP })),
	}
	d := Decide(snap, articleConfig(t), controller.Memory{})
	if len(d.Services) != 0 || len(nodeOf(t, d, "master1").State.Services) != 0 {
		t.Errorf("got %+v, want no service", d.Services)
	}
}

// A finalizer keeps a deleted service in sight; its address is free at once,
// for it has no user any more.
func TestDeletedServiceIsServedNoMore(t *testing.T) {
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"))}
	first := Decide(snap, articleConfig(t), controller.Memory{})
	snap.Services = []*corev1.Service{
		lb("a", ports("80:30080/TCP"), ingress("123.123.123.1", ""), func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }),
		lb("b", ports("80:30081/TCP")),
	}
	second := Decide(snap, articleConfig(t), first.Memory)
	if len(second.Services) != 1 || serviceOf(t, second, "b").ExternalIPs[0].String() != "123.123.123.1" {
		t.Errorf("got %+v, want b alone, with the address that a had", second.Services)
	}
	if _, held := second.Memory.Addresses["default/a"]; held {
		t.Error("the deleted service still holds its address")
	}
}

// A service that is edited into a neighbour's port must not push it out.
func TestTakenPortGoesToWhoHasIt(t *testing.T) {
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP")), lb("b", ports("81:30081/TCP"))}
	first := Decide(snap, articleConfig(t), controller.Memory{})
	snap.Services = []*corev1.Service{lb("a", ports("81:30080/TCP")), lb("b", ports("81:30081/TCP"))}
	second := Decide(snap, articleConfig(t), first.Memory)
	if got := serviceOf(t, second, "b").ExternalIPs[0].String(); got != "123.123.123.1" {
		t.Errorf("b moved to %s", got)
	}
	if got := serviceOf(t, second, "a").ExternalIPs[0].String(); got != "123.123.123.2" {
		t.Errorf("a has %s, want the next address", got)
	}
}

func TestOlderServiceWinsTheLastAddress(t *testing.T) {
	at := func(hour int) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.CreationTimestamp = metav1.NewTime(time.Date(2023, 10, 17, hour, 0, 0, 0, time.UTC))
		}
	}
	cfg := articleConfig(t)
	cfg.Pools = mustPools(t, "10.0.0.1/32")
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"), at(9)), lb("b", ports("80:30081/TCP"), at(8))}
	d := Decide(snap, cfg, controller.Memory{})
	if got := printConditions(serviceOf(t, d, "b")); !strings.Contains(got, "Assigned") {
		t.Errorf("the older service has %s", got)
	}
	if got := printConditions(serviceOf(t, d, "a")); !strings.Contains(got, "PoolExhausted") {
		t.Errorf("the younger service has %s", got)
	}
}

// What a service holds that a broken manifest hides is not given away.
func TestIncompleteSnapshotKeepsAddresses(t *testing.T) {
	last := controller.Memory{Addresses: map[string]ipam.Hold{"default/hidden": hold("123.123.123.1", 80)}}
	for incomplete, want := range map[bool]string{true: "123.123.123.2", false: "123.123.123.1"} {
		snap := twoByTwo()
		snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"))}
		snap.Incomplete = incomplete
		d := Decide(snap, articleConfig(t), last)
		if got := serviceOf(t, d, "a").ExternalIPs[0].String(); got != want {
			t.Errorf("incomplete %t: a has %s, want %s", incomplete, got, want)
		}
		if _, kept := d.Memory.Addresses["default/hidden"]; kept != incomplete {
			t.Errorf("incomplete %t: the hidden service's hold is kept: %t", incomplete, kept)
		}
	}
}

// TestRefusedServiceKeepsItsAddress holds it over a restart that knows the
// Service's status alone, and then over one that knows the last decision alone:
// the status of what is not served is empty.
func TestRefusedServiceKeepsItsAddress(t *testing.T) {
	snap := twoByTwo()
	wrong := lb("a", ports("80:30080/TCP"), note("loxilb.io/lbmode", "nonsense"), ingress("10.0.0.1", ""))
	rival := lb("b", ports("80:30081/TCP"))
	snap.Services = []*corev1.Service{wrong, rival}
	cfg := controller.Config{Pools: mustPools(t, "10.0.0.0/24")}
	first := Decide(snap, cfg, controller.Memory{})
	want := hold("10.0.0.1", 80)
	want.Kept = true
	if diff := cmp.Diff(want, first.Memory.Addresses["default/a"], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if got := serviceOf(t, first, "b").ExternalIPs; len(got) != 1 || got[0].String() != "10.0.0.2" {
		t.Errorf("the rival got %v", got)
	}
	if first.Memory.Addresses["default/b"].Kept {
		t.Error("the hold of a service that is served is marked as kept")
	}
	wrong.Status = corev1.ServiceStatus{}
	delete(first.Memory.Addresses, "default/b")
	wrong.Annotations = nil
	if got := serviceOf(t, Decide(snap, cfg, first.Memory), "a").ExternalIPs; len(got) != 1 || got[0].String() != "10.0.0.1" {
		t.Errorf("once mended it has %v", got)
	}
}

// TestRefusedServiceTakesNothingFromOthers restarts while the owner of a, which
// shares an address with b, has it ask for b's port, and for what nobody knows.
func TestRefusedServiceTakesNothingFromOthers(t *testing.T) {
	snap := twoByTwo()
	b := lb("b", ports("81:30081/TCP"), ingress("10.0.0.1", ""))
	b.CreationTimestamp = metav1.Unix(1, 0) // a is older
	snap.Services = []*corev1.Service{lb("a", ports("81:30080/TCP"), note("loxilb.io/lbmode", "nonsense"), ingress("10.0.0.1", "")), b}
	d := Decide(snap, controller.Config{Pools: mustPools(t, "10.0.0.0/24")}, controller.Memory{})
	if got := serviceOf(t, d, "b").ExternalIPs; len(got) != 1 || got[0].String() != "10.0.0.1" {
		t.Errorf("the other one got %v", got)
	}
}

// TestControllersOwnAnnotation holds that what the controller writes is not told
// to the owner as something without effect.
func TestControllersOwnAnnotation(t *testing.T) {
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"), note(AnnotationServed, "yes"))}
	d := Decide(snap, controller.Config{Pools: mustPools(t, "10.0.0.0/24")}, controller.Memory{})
	if got := serviceOf(t, d, "a").Conditions[0].Reason; got != ReasonValid {
		t.Errorf("accepted as %s", got)
	}
}

func TestTooManyEndpoints(t *testing.T) {
	s := slice("a", "=8080")
	for i := range v1.MaxBackends + 1 {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)}).String()}})
	}
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:0/TCP"), note("loxilb.io/usepodnetwork", "yes"))}
	snap.Slices = append(snap.Slices, s)
	d := Decide(snap, articleConfig(t), controller.Memory{})
	if got := printConditions(serviceOf(t, d, "a")); !strings.HasPrefix(got, "Accepted=false/TooManyEndpoints") {
		t.Errorf("got %s", got)
	}
	if got := nodeOf(t, d, "master1").State.Services; len(got) != 0 {
		t.Errorf("got %v, want nothing half programmed", printFrontends(got))
	}
}

// TestOneServiceIsBounded holds that no owner of a Service has all nodes told, and
// everybody read, as much as an apiserver lets one write.
func TestOneServiceIsBounded(t *testing.T) {
	many := func(n int) (*corev1.Service, *discoveryv1.EndpointSlice) {
		var list, named []string
		for i := range n {
			list, named = append(list, fmt.Sprintf("%d:0/TCP", i+1)), append(named, fmt.Sprintf("p%d=8080", i+1))
		}
		s := slice("a", strings.Join(named, ","))
		for i := range v1.MaxBackends {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)}).String()}})
		}
		return lb("a", ports(list...), note("loxilb.io/usepodnetwork", "yes")), s
	}
	for _, row := range []struct {
		ports int
		want  string
	}{{64, good}, {65, "Accepted=false/TooManyEndpoints Allocated=false/NotAccepted Reserved=true/Reserved"}} {
		snap := twoByTwo()
		service, endpoints := many(row.ports)
		snap.Services, snap.Slices = []*corev1.Service{service}, append(snap.Slices, endpoints)
		if got := printConditions(serviceOf(t, Decide(snap, articleConfig(t), controller.Memory{}), "a")); got != row.want {
			t.Errorf("%d ports: %s, want %s", row.ports, got, row.want)
		}
	}
	long := strings.Repeat("\x1b[2J\n", 40_000)
	nowhere := slice("a", "=8080", "10.42.2.5@"+long)
	for _, edits := range [][]func(*corev1.Service){
		{note("loxilb.io/lbmode", long)}, {note("loxilb.io/poolSelect", long)}, {note("loxilb.io/staticIP", long)}, {note("loxilb.io/epselect", long)},
		{note("loxilb.io/liveness", "yes"), note("loxilb.io/probeport", long)}, {from(long)}, {wanted(long)},
		{note("loxilb.io/staticIP", strings.Repeat("10.0.0.1,", 30_000))}, nil,
	} {
		snap := twoByTwo()
		snap.Services = []*corev1.Service{lb("a", append([]func(*corev1.Service){ports("80:30080/TCP")}, edits...)...)}
		snap.Slices = append(snap.Slices, nowhere)
		for _, c := range serviceOf(t, Decide(snap, articleConfig(t), controller.Memory{}), "a").Conditions {
			if len(c.Message) > maxMessage || strings.ContainsFunc(c.Message, unicode.IsControl) {
				t.Errorf("%s has a message of %d bytes: %.80q", c.Type, len(c.Message), c.Message)
			}
		}
	}
}

func TestWeights(t *testing.T) {
	for _, row := range []struct {
		counts []int
		want   []uint16
	}{
		{nil, []uint16{}},
		{[]int{7}, []uint16{0}},
		{[]int{4, 4}, []uint16{0, 0}},
		{[]int{2, 4, 6}, []uint16{1, 2, 3}},
		{[]int{1, 100}, []uint16{1, 100}},
		{[]int{1, 1000, 500}, []uint16{1, 100, 50}},
		{[]int{999, 1000}, []uint16{100, 100}},
	} {
		if got := weights(row.counts); !slices.Equal(got, row.want) {
			t.Errorf("weights(%v) = %v, want %v", row.counts, got, row.want)
		}
	}
}
