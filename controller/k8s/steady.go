package k8s

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/decide"
)

// steady remembers where weir ran. A pod that is replaced is a restart, in which peers
// keep the node's routes and the kernel its dataplane: would the node lose its rank
// and its neighbours, connections moved twice for nothing. It is not safe for
// concurrent use.
type steady struct {
	absence    time.Duration
	namespaces []string // of weir's pods, the first for those of which nothing else is known
	seen       map[instance]sighting
}

// instance is an endpoint of one of the Services that name weir's pods.
type instance struct{ namespace, service, address string }

type sighting struct {
	away     time.Time // since when it is not ready, zero while it is
	endpoint discoveryv1.Endpoint
	ports    []discoveryv1.EndpointPort
}

func newSteady(absence time.Duration, namespaces ...string) *steady {
	return &steady{absence: absence, namespaces: namespaces, seen: map[instance]sighting{}}
}

// remember takes the load balancer nodes that the last leader knew as seen now, if they still are nodes of the cluster.
func (s *steady) remember(lbs []netip.Addr, nodes []*corev1.Node, now time.Time) {
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			address, err := netip.ParseAddr(a.Address)
			if a.Type != corev1.NodeInternalIP || err != nil || !slices.Contains(lbs, address) {
				continue
			}
			s.seen[instance{s.namespaces[0], decide.LBServices()[0], a.Address}] = sighting{away: now, endpoint: discoveryv1.Endpoint{
				Addresses: []string{a.Address}, NodeName: &n.Name,
			}}
		}
	}
}

// hold adds to a snapshot, as ready, the instances that were so and are not, for absence at most, where their Node is
// still there. again is how long until one of them has been away too long, zero if none is held.
func (s *steady) hold(snap *controller.Snapshot, now time.Time) (again time.Duration) {
	s.dropLeft(snap)
	present := map[instance]bool{}
	for _, slice := range snap.Slices {
		if !decide.HasInstances(slice, s.namespaces) {
			continue
		}
		service := slice.Labels[discoveryv1.LabelServiceName]
		for _, e := range slice.Endpoints {
			if len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				key := instance{slice.Namespace, service, e.Addresses[0]}
				s.seen[key], present[key] = sighting{endpoint: e, ports: slice.Ports}, true
			}
		}
	}
	// A Service's pods have one address family, and weir's IPv4.
	for key, sight := range s.seen {
		if present[key] {
			continue
		}
		if sight.away.IsZero() {
			sight.away = now
			s.seen[key] = sight
		}
		left := s.absence - now.Sub(sight.away)
		if left <= 0 || !hasNode(snap.Nodes, sight.endpoint.NodeName) {
			delete(s.seen, key)
			continue
		}
		snap.Slices = append(snap.Slices, &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: key.namespace, Labels: map[string]string{discoveryv1.LabelServiceName: key.service}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{asReady(sight.endpoint)},
			Ports:       sight.ports,
		})
		if again == 0 || left < again {
			again = left
		}
	}
	return again
}

// dropLeft takes out of a snapshot the instances whose Node is gone. Their endpoints stand until the pod's end is noticed,
// which takes a minute and more.
func (s *steady) dropLeft(snap *controller.Snapshot) {
	left := func(e discoveryv1.Endpoint) bool { return e.NodeName != nil && !hasNode(snap.Nodes, e.NodeName) }
	for i, slice := range snap.Slices {
		if !decide.HasInstances(slice, s.namespaces) || !slices.ContainsFunc(slice.Endpoints, left) {
			continue
		}
		slice = slice.DeepCopy() // it is the mirror's
		slice.Endpoints = slices.DeleteFunc(slice.Endpoints, left)
		snap.Slices[i] = slice
	}
}

func asReady(e discoveryv1.Endpoint) discoveryv1.Endpoint {
	e.Conditions = discoveryv1.EndpointConditions{}
	return e
}

func hasNode(nodes []*corev1.Node, name *string) bool {
	return name != nil && slices.ContainsFunc(nodes, func(n *corev1.Node) bool { return n.Name == *name })
}
