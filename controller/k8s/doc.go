// Package k8s is the controller's side of an apiserver, and the only importer
// of client-go: Source watches what a decision needs, Writer and Events tell
// the cluster what was decided, Lead waits for leadership, Memory keeps what
// the next leader needs, Certificates keeps those of the nodes' API.
//
//	informers -> mirror -> Source -> controller.Update -> (loop, decide)
//	                                                           |
//	Service status, finalizers, events  <-  Writer, Events  <--'
//
// The worst that this package can do is to take something for deleted that is
// not: an apiserver that comes back with an empty list must take no service
// from its users. mirror.go says what is believed, and when.
//
// What the controller may do in a cluster is the least that works: get, list
// and watch services, endpointslices and nodes; patch services and
// services/status; create and patch events; and in its own namespace get,
// create and update one Lease, one ConfigMap and three Secrets.
package k8s
