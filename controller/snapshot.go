package controller

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/ipam"
)

// Snapshot is a cluster at one moment, as far as the controller looks. The
// objects are read only: sources and decisions share them.
type Snapshot struct {
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
	Nodes    []*corev1.Node
	// Incomplete says that services may be missing which exist, for a manifest
	// could not be read. What they hold is kept for them.
	Incomplete bool
}

// Update is a Snapshot with what its source could not read.
type Update struct {
	Snapshot Snapshot
	// Problems hide objects or parts of them; what they hide is in Snapshot
	// as it was last.
	Problems []v1.Problem
	// Skipped names objects of kinds that the controller does not use.
	Skipped []string
}

// Source watches a cluster.
type Source interface {
	// Run sends the whole Update at the start and after each change, until ctx
	// ends. It returns an error only where it can never go on.
	Run(ctx context.Context, updates chan<- Update) error
	// String says where the objects come from, for people: "manifests DIR".
	String() string
}

// Memory is what a decision needs to know of the last one. The zero value
// stands for none. It is kept in a file, so that a restart moves no address
// and no active node.
type Memory struct {
	// Addresses by service, namespace/name.
	Addresses map[string]ipam.Hold `json:"addresses,omitempty"`
	// LBs are the load balancer nodes in the order of their ranks, the active
	// one first, where one order holds for all addresses (--setRoles).
	LBs []netip.Addr `json:"lbs,omitempty"`
}
