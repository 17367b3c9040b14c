package controller

import v1 "github.com/weir-lb/weir/api/v1"

// NodeReport is what a load balancer node said last of the services that it
// was told of. The slices and maps are shared: they are read only.
type NodeReport struct {
	Node string
	// Services that the node was told of when it said so; none before Answered.
	Services []v1.Service
	// Faults are those of Services that lead nowhere on the node.
	Faults map[v1.Frontend]v1.Condition
	// Answered says that there is a report at all.
	Answered bool
	// Lost says why there was no news for a while, empty while there is.
	Lost string
}
