package decide

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "github.com/weir-lb/weir/api/v1"
)

// maxEndpoints is how many endpoints all ports of a service may have together.
// Its owner chooses both numbers, and all nodes are told the product.
const maxEndpoints = 64 * v1.MaxBackends

// resolve fills the frontends of the services that have an address.
func resolve(services []*service, c *cluster) {
	for _, s := range services {
		if !s.served() {
			continue
		}
		total := 0
		for _, p := range s.ports {
			backends, missing := backendsOf(s, p, c)
			if total += len(backends); total > maxEndpoints {
				s.frontends = nil
				s.refusal = refuse(ReasonTooManyEndpoints, "%d ports have more than %d endpoints together; scale down, or make several services of it",
					len(s.ports), maxEndpoints)
				break
			}
			if len(backends) > v1.MaxBackends {
				s.frontends = nil
				s.refusal = refuse(ReasonTooManyEndpoints, "port %s has %d endpoints, at most %d are served; scale down or use externalTrafficPolicy: Local",
					p.Port, len(backends), v1.MaxBackends)
				break
			}
			if len(backends) == 0 && s.unreachable == nil {
				s.unreachable = noBackends(s, p, c, missing)
			}
			s.frontends = append(s.frontends, v1.Service{
				Name:     frontendName(s, p),
				Frontend: v1.Frontend{VIP: s.vip(), Port: p.Number, Protocol: p.Protocol},
				Mode:     s.mode, Algorithm: s.algorithm, Monitor: s.monitor, Probe: s.probe.spec, Withdraw: s.withdraw, IdleTimeout: s.idleTimeout,
				Affinity: s.affinity, Sources: s.sources,
				Backends: backends,
			})
		}
	}
}

// frontendName is namespace/name, with the port where the Service has several.
func frontendName(s *service, p port) string {
	switch {
	case len(s.ports) == 1:
		return s.key
	case p.name != "":
		return s.key + ":" + p.name
	}
	return s.key + ":" + p.String()
}

// backendsOf lists where a port's connections go, ordered by address, and the
// names of nodes that have endpoints, but no address.
func backendsOf(s *service, p port, c *cluster) ([]v1.Backend, []string) {
	switch {
	case s.podNetwork:
		return podBackends(c.endpointsOf(s.key, p.name), c), nil
	case s.obj.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal:
		return localBackends(s, p, c)
	case len(c.endpointsOf(s.key, p.name)) == 0:
		// kube-proxy would refuse on every node; here the client is refused
		// one hop earlier.
		return nil, nil
	}
	backends := make([]v1.Backend, len(c.eligible))
	for i, a := range c.eligible {
		backends[i] = v1.Backend{Address: a, Port: p.nodePort, LB: c.lbs[a.String()]}
	}
	return backends, nil
}

func podBackends(endpoints []endpoint, c *cluster) []v1.Backend {
	backends := make([]v1.Backend, len(endpoints))
	for i, e := range endpoints {
		backends[i] = v1.Backend{Address: e.pod.Addr(), Port: e.pod.Port(), LB: c.lbs[e.node]}
	}
	return backends
}

// localBackends are the eligible nodes that have endpoints, each weighted by
// how many it has, so that every pod gets the same share. As in endpointsOf it
// is those that are ready, or where no eligible node has one those that end and
// still serve: that is what kube-proxy there does with the connection.
func localBackends(s *service, p port, c *cluster) ([]v1.Backend, []string) {
	pods, missing := map[netip.Addr]int{}, map[string]bool{}
	for _, passes := range []func(discoveryv1.Endpoint) bool{isReady, servesItsEnd} {
		for _, e := range c.endpointsThat(passes, s.key, p.name) {
			a, known := c.nodes[e.node]
			if !known {
				missing[e.node] = true
			} else if _, ok := slices.BinarySearchFunc(c.eligible, a, netip.Addr.Compare); ok {
				pods[a]++
			}
		}
		if len(pods) > 0 {
			break
		}
	}
	addrs := slices.SortedFunc(maps.Keys(pods), netip.Addr.Compare)
	counts := make([]int, len(addrs))
	for i, a := range addrs {
		counts[i] = pods[a]
	}
	backends := make([]v1.Backend, len(addrs))
	for i, w := range weights(counts) {
		backends[i] = v1.Backend{Address: addrs[i], Port: p.nodePort, Weight: w, LB: c.lbs[addrs[i].String()]}
	}
	return backends, slices.Sorted(maps.Keys(missing))
}

// weights reduces the counts to the smallest weights of the same ratio, at
// most v1.MaxWeight, where the ratio is rounded. Equal counts are all zero,
// which means one: the common case needs no weights in a state.
func weights(counts []int) []uint16 {
	out := make([]uint16, len(counts))
	divisor, largest := 0, 0
	for _, n := range counts {
		divisor, largest = gcd(divisor, n), max(largest, n)
	}
	if largest == divisor {
		return out
	}
	largest /= divisor
	for i, n := range counts {
		w := n / divisor
		if largest > v1.MaxWeight {
			w = max(1, (w*v1.MaxWeight+largest/2)/largest)
		}
		out[i] = uint16(w)
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// noBackends says why a port has none.
func noBackends(s *service, p port, c *cluster, missing []string) *refusal {
	switch {
	case len(missing) > 0:
		return refuse(ReasonNoNodeAddress, "port %s: endpoints on %q, but no such Node has an IPv4 InternalIP; add the Node or its address",
			p.Port, strings.Join(missing, ", "))
	case len(c.endpointsOf(s.key, p.name)) == 0:
		return refuse(ReasonNoReadyEndpoints, "port %s (name %q): no EndpointSlice of the service has a ready endpoint for it; clients are refused until one is ready",
			p.Port, p.name)
	}
	of := "no Node"
	if s.obj.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		of = "of the Nodes with endpoints none"
	}
	return refuse(ReasonNoEligibleNode, "port %s: %s is ready and without the label %s; clients are refused until one is",
		p.Port, of, corev1.LabelNodeExcludeBalancers)
}
