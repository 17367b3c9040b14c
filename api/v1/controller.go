package v1

import (
	"net/netip"
	"time"
)

// ControllerStatus is what the controller knows and did: GET /v1/controller
// on the controller's own socket.
type ControllerStatus struct {
	Version string `json:"version"`
	// Source says where the objects come from: "manifests DIR" or "cluster URL".
	Source string `json:"source"`
	// Leader is the identity of the controller that leads in a cluster, empty
	// while it is not known. One that waits for its turn has nothing decided.
	Leader string `json:"leader,omitempty"`
	// Services of the classes that the controller serves, ordered by
	// namespace and name.
	Services []ControllerService `json:"services"`
	// Nodes that run weir, load balancers before peers, ordered by address.
	Nodes []ControllerNode `json:"nodes"`
	// Pools in the order in which they were given.
	Pools []ControllerPool `json:"pools"`
	// Problems concern no service and no node: a manifest that cannot be
	// read, for one. The objects that they hide stay as they were last.
	Problems []Problem `json:"problems,omitempty"`
	// Events are the newest changes, oldest first, at most a few hundred.
	Events []Event `json:"events,omitempty"`
}

// ControllerService is one Kubernetes Service with what was decided for it,
// in the columns of `kubectl get svc`.
type ControllerService struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Type is the Service's: "LoadBalancer".
	Type string `json:"type"`
	// Class is spec.loadBalancerClass, empty where the Service has none.
	Class string `json:"class,omitempty"`
	// ClusterIP is empty where the manifest has none.
	ClusterIP string `json:"clusterIP,omitempty"`
	// ExternalIPs are the addresses that it got and is served on; none while it waits.
	ExternalIPs []netip.Addr `json:"externalIPs,omitempty"`
	// ReservedIPs are addresses that it got, which are not published since nodes
	// do not serve their family.
	ReservedIPs []netip.Addr `json:"reservedIPs,omitempty"`
	// Pool is the name of the pool that the addresses come from; of two pools,
	// comma separated, where they come from two.
	Pool string `json:"pool,omitempty"`
	// Ports as kubectl prints them: "55002:32694/TCP", and "55002/TCP" without
	// a NodePort.
	Ports []string `json:"ports"`
	// Mode is that of its frontends.
	Mode Mode `json:"mode,omitempty"`
	// Backends is how many distinct endpoints its frontends have.
	Backends int `json:"backends"`
	// Active is the node that holds rank 0 for its address.
	Active     string      `json:"active,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// Roles of a node, as ControllerNode.Role and ObservedState.Mode spell them.
const (
	NodeLB   = "lb"
	NodePeer = "peer"
)

// ControllerNode is a node that runs weir and how far its state has come.
type ControllerNode struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	// Role is NodeLB or NodePeer.
	Role string `json:"role"`
	// Active says that the node holds rank 0 for at least one address.
	Active bool `json:"active,omitempty"`
	// Drained says that the node is told that it is (NodeState.Drained).
	Drained bool `json:"drained,omitempty"`
	// Desired was decided last, Pushed was accepted by the node last. They
	// are equal when there is nothing to do.
	Desired Generation `json:"desired"`
	Pushed  Generation `json:"pushed"`
	// Services is how many frontends Desired holds.
	Services int `json:"services"`
	// State is one of the Push constants.
	State string `json:"state"`
	// LastError is why the last attempt failed, in one line, empty after a
	// success.
	LastError string `json:"lastError,omitempty"`
	// Attempts counts failures since the last success.
	Attempts int `json:"attempts"`
	// LastPush is when the node last accepted a state, zero for never.
	LastPush time.Time `json:"lastPush,omitzero"`
	// NextRetry is when the next attempt starts, zero where none is due.
	NextRetry time.Time `json:"nextRetry,omitzero"`
}

// States of a node's push.
const (
	// PushPending: a state is decided and was not tried yet.
	PushPending = "pending"
	// PushInSync: the node accepted what is desired.
	PushInSync = "in-sync"
	// PushRetrying: the last attempt failed, the next one is at NextRetry.
	PushRetrying = "retrying"
	// PushSuperseded: the node holds a newer leader's state (409), so this
	// controller no longer pushes to it.
	PushSuperseded = "superseded"
	// PushRemoving: the node is gone from the cluster and gets an empty state.
	PushRemoving = "removing"
)

// ControllerPool is a pool of addresses of one family and how much of it is
// taken. A pool of both families is two of them.
type ControllerPool struct {
	Name string `json:"name"`
	// Family is "IPv4" or "IPv6".
	Family string `json:"family"`
	// Ranges as first-last.
	Ranges []string `json:"ranges"`
	// Size counts addresses; it stops at the largest int64 for IPv6.
	Size int64 `json:"size"`
	// Used counts addresses that at least one service holds, or that are a node's.
	Used int `json:"used"`
}

// Problem is something a person has to mend, one line that says what to do.
type Problem struct {
	// Object is what it concerns: "manifests/udp.yaml:12" (file and line).
	Object  string `json:"object"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Event is something that happened to an object, in the way of Kubernetes.
type Event struct {
	Time time.Time `json:"time"`
	// Object is "service/default/nginx-lb1" or "node/master1".
	Object string `json:"object"`
	// Type is "Normal" or "Warning".
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Types of an Event.
const (
	EventNormal  = "Normal"
	EventWarning = "Warning"
)
