package decide

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "github.com/weir-lb/weir/api/v1"
)

// The Services whose endpoints are the nodes that run weir: LoxiLB's names, as
// in the article, and weir's own.
var (
	lbServices   = []string{"loxilb-lb-service", "weir-lb"}
	peerServices = []string{"loxilb-peer-service", "weir-peer"}
)

// LBServices are the names of the Services whose endpoints are load balancer nodes.
func LBServices() []string { return slices.Clone(lbServices) }

// HasInstances says whether the endpoints of a slice are nodes that run weir:
// by the name of its Service, and by its namespace, unless any will do. Tenants
// write EndpointSlices in theirs.
func HasInstances(s *discoveryv1.EndpointSlice, namespaces []string) bool {
	return ofInstances(s, slices.Concat(lbServices, peerServices), namespaces)
}

func ofInstances(s *discoveryv1.EndpointSlice, services, namespaces []string) bool {
	return slices.Contains(services, s.Labels[discoveryv1.LabelServiceName]) && (len(namespaces) == 0 || slices.Contains(namespaces, s.Namespace))
}

// DefaultAPIPort is where weir listens where the Service's ports do not say.
const DefaultAPIPort = 11111

// Instance is a weir process on a node.
type Instance struct {
	Name string
	// Address of the node, IPv4: BGP router id and API server.
	Address netip.Addr
	// APIPort is where weir's API listens.
	APIPort uint16
	// Role is v1.NodeLB or v1.NodePeer.
	Role string
	// Ready is false while the endpoint says that it is not, or the node is
	// being drained.
	Ready bool
	// Drained is of a load balancer node that is being drained while another one
	// is ready: v1.NodeState.Drained.
	Drained bool
}

// instances finds the load balancer nodes and the peers, each ordered by
// address. A node that is both counts as a load balancer.
func instances(all []*discoveryv1.EndpointSlice, namespaces []string) (lbs, peers []Instance) {
	found := map[netip.Addr]Instance{}
	for _, role := range []struct {
		name     string
		services []string
	}{{v1.NodePeer, peerServices}, {v1.NodeLB, lbServices}} {
		for _, s := range all {
			if s.AddressType != discoveryv1.AddressTypeIPv4 || !ofInstances(s, role.services, namespaces) {
				continue
			}
			for _, e := range s.Endpoints {
				if n, ok := readInstance(s, e, role.name); ok {
					found[n.Address] = prefer(found[n.Address], n)
				}
			}
		}
	}
	for _, n := range found {
		if n.Role == v1.NodeLB {
			lbs = append(lbs, n)
		} else {
			peers = append(peers, n)
		}
	}
	byAddress := func(a, b Instance) int { return a.Address.Compare(b.Address) }
	slices.SortFunc(lbs, byAddress)
	slices.SortFunc(peers, byAddress)
	return lbs, peers
}

// prefer chooses between two endpoints of one address: the load balancer, then
// the ready one, then by name, so that the order of slices does not matter.
func prefer(a, b Instance) Instance {
	switch {
	case !a.Address.IsValid():
		return b
	case a.Role != b.Role:
		if b.Role == v1.NodeLB {
			return b
		}
		return a
	case a.Ready != b.Ready:
		if b.Ready {
			return b
		}
		return a
	case cmp.Compare(b.Name, a.Name) < 0:
		return b
	}
	return a
}

// LabelZone is LoxiLB's label of a Node, which has no effect here.
const LabelZone = prefixLoxiLB + "zonelabel"

// zoned names the nodes with LabelZone, in order.
func zoned(nodes []*corev1.Node) (names []string) {
	for _, n := range nodes {
		if _, labelled := n.Labels[LabelZone]; labelled {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// standBack has nodes that are being drained (kubectl drain, kubectl cordon)
// count as not ready, so that they rank last: their addresses go to others while
// they still forward. Where there is none to go to, nobody is told that it is
// drained: what serves must go on over the end of its pod.
func standBack(lbs []Instance, nodes []*corev1.Node) {
	unschedulable := map[string]bool{}
	for _, n := range nodes {
		unschedulable[n.Name] = n.Spec.Unschedulable
	}
	for i := range lbs {
		lbs[i].Ready = lbs[i].Ready && !unschedulable[lbs[i].Name]
	}
	others := slices.ContainsFunc(lbs, func(n Instance) bool { return n.Ready })
	for i := range lbs {
		lbs[i].Drained = others && unschedulable[lbs[i].Name]
	}
}

func readInstance(s *discoveryv1.EndpointSlice, e discoveryv1.Endpoint, role string) (Instance, bool) {
	if len(e.Addresses) == 0 {
		return Instance{}, false
	}
	a, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || !a.Is4() {
		return Instance{}, false
	}
	n := Instance{Name: a.String(), Address: a, APIPort: apiPort(s.Ports), Role: role, Ready: isReady(e)}
	if e.NodeName != nil && *e.NodeName != "" {
		n.Name = *e.NodeName
	}
	return n, true
}

// apiPort is the first port that is not BGP's: the article's Services name
// theirs loxilb-app and loxilb-app-bgp.
func apiPort(ports []discoveryv1.EndpointPort) uint16 {
	for _, p := range ports {
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 || (p.Name != nil && strings.HasSuffix(*p.Name, "bgp")) {
			continue
		}
		return uint16(*p.Port)
	}
	return DefaultAPIPort
}
