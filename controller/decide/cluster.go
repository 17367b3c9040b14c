package decide

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/weir-lb/weir/controller"
)

// cluster answers questions about endpoints and nodes.
type cluster struct {
	slices map[string][]*discoveryv1.EndpointSlice // by namespace/name of the Service
	nodes  map[string]netip.Addr                   // InternalIP by node name
	// eligible are the addresses of the nodes that take traffic for any
	// service, ordered.
	eligible []netip.Addr
	// lbs are the load balancer nodes, by name and by address.
	lbs map[string]bool
}

func newCluster(snap controller.Snapshot, lbs []Instance) *cluster {
	c := &cluster{
		slices: make(map[string][]*discoveryv1.EndpointSlice, len(snap.Services)),
		nodes:  make(map[string]netip.Addr, len(snap.Nodes)), lbs: map[string]bool{},
	}
	for _, n := range lbs {
		c.lbs[n.Name], c.lbs[n.Address.String()] = true, true
	}
	for _, s := range snap.Slices {
		if s.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		key := s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
		c.slices[key] = append(c.slices[key], s)
	}
	for _, n := range snap.Nodes {
		a := internalIP(n)
		if !a.IsValid() {
			continue
		}
		c.nodes[n.Name] = a
		if _, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]; !excluded && nodeReady(n) {
			c.eligible = append(c.eligible, a)
		}
	}
	slices.SortFunc(c.eligible, netip.Addr.Compare)
	c.eligible = slices.Compact(c.eligible)
	return c
}

// internalIP is the node's first IPv4 InternalIP, zero where it has none.
func internalIP(n *corev1.Node) netip.Addr {
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil && ip.Is4() {
			return ip
		}
	}
	return netip.Addr{}
}

// nodeReady takes a node without a Ready condition for ready: only manifests
// written by hand lack it, a kubelet writes it together with the addresses.
func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return true
}

// endpoint is a pod that takes connections on one port of a Service.
type endpoint struct {
	pod  netip.AddrPort
	node string
}

// endpointsOf lists the endpoints that take new connections on a Service's
// port: the ready ones, or where there is none those that end and still serve,
// as kube-proxy does (KEP-1669). So the last pod of a rollout answers until its
// successor is ready.
func (c *cluster) endpointsOf(service, portName string) []endpoint {
	if ready := c.endpointsThat(isReady, service, portName); len(ready) > 0 {
		return ready
	}
	return c.endpointsThat(servesItsEnd, service, portName)
}

// endpointsThat lists the endpoints of a Service's port that pass a test, by
// address. An endpoint in two slices, as it is while Kubernetes moves it,
// counts once.
func (c *cluster) endpointsThat(passes func(discoveryv1.Endpoint) bool, service, portName string) []endpoint {
	var out []endpoint
	for _, s := range c.slices[service] {
		number, ok := portNumber(s.Ports, portName)
		if !ok {
			continue
		}
		out = slices.Grow(out, len(s.Endpoints))
		for _, e := range s.Endpoints {
			if !passes(e) {
				continue
			}
			if ep, ok := readEndpoint(e, number); ok {
				out = append(out, ep)
			}
		}
	}
	slices.SortFunc(out, func(a, b endpoint) int { return a.pod.Compare(b.pod) })
	return slices.CompactFunc(out, func(a, b endpoint) bool { return a.pod == b.pod })
}

func portNumber(ports []discoveryv1.EndpointPort, name string) (uint16, bool) {
	for _, p := range ports {
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		if (p.Name == nil && name == "") || (p.Name != nil && *p.Name == name) {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

// readEndpoint reads one endpoint, false where it has no IPv4 address.
func readEndpoint(e discoveryv1.Endpoint, port uint16) (endpoint, bool) {
	if len(e.Addresses) == 0 {
		return endpoint{}, false
	}
	a, err := netip.ParseAddr(strings.TrimSpace(e.Addresses[0]))
	if err != nil || !a.Is4() {
		return endpoint{}, false
	}
	ep := endpoint{pod: netip.AddrPortFrom(a, port)}
	if e.NodeName != nil {
		ep.node = *e.NodeName
	}
	return ep, true
}

// isReady takes a missing condition for ready, as the API says. With
// publishNotReadyAddresses Kubernetes itself says ready of every endpoint.
func isReady(e discoveryv1.Endpoint) bool {
	return e.Conditions.Ready == nil || *e.Conditions.Ready
}

// servesItsEnd says that the pod was told to end and still passes its readiness
// probe. Conditions that are missing say neither.
func servesItsEnd(e discoveryv1.Endpoint) bool {
	terminating, serving := e.Conditions.Terminating, e.Conditions.Serving
	return terminating != nil && *terminating && serving != nil && *serving
}
