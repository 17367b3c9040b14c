package decide

import (
	"errors"

	"github.com/weir-lb/weir/controller/ipam"
)

// Reasons of conditions, the closed list of those that a decision gives.
const (
	// Accepted.
	ReasonValid              = "Valid"              // Holds: the service can be served as it is written.
	ReasonValidWithIgnored   = "ValidWithIgnored"   // Holds, but what the message names has no effect here; remove it.
	ReasonProbeDefaults      = "ProbeDefaults"      // Holds, but the probe annotations are void and probes are the node's defaults; mend what the message names.
	ReasonInvalidPort        = "InvalidPort"        // A port is missing, out of range or there twice; mend spec.ports.
	ReasonInvalidProtocol    = "InvalidProtocol"    // A protocol is unknown; use TCP, UDP or SCTP.
	ReasonNoNodePort         = "NoNodePort"         // A port has no node port; allow node ports, or set usepodnetwork to yes.
	ReasonUnknownMode        = "UnknownMode"        // The mode is none that is served; use default, onearm or fullnat.
	ReasonInvalidAnnotation  = "InvalidAnnotation"  // The value of an annotation cannot be read; the message says what it may be.
	ReasonInvalidAddress     = "InvalidAddress"     // The wanted address is none, or of a family that the service has not, or two fields want different ones; mend the one that the message names.
	ReasonInvalidFamily      = "InvalidFamily"      // The service asks for families (spec.ipFamilies, spec.ipFamilyPolicy) that there are not; mend what the message names.
	ReasonInvalidSourceRange = "InvalidSourceRange" // A source range is no prefix, or none is of the service's family; write one such as 192.0.2.0/24.

	// Allocated.
	ReasonAssigned            = "Assigned"            // Holds: the service has an address.
	ReasonAssignedPartly      = "AssignedPartly"      // Holds: of PreferDualStack, the service has an address of one family; the message says why not of the other.
	ReasonAddressMoved        = "AddressMoved"        // An event: the service has another address than before, which it did not ask for; lead clients and DNS there, or mend what the message names.
	ReasonPoolExhausted       = "PoolExhausted"       // The pool has no free address; make it larger (--cidrPools), or remove services.
	ReasonAddressInUse        = "AddressInUse"        // The wanted address and port belong to another service; choose another, or remove that service.
	ReasonAddressOutsidePools = "AddressOutsidePools" // The wanted address is in no pool that may give it; choose one inside, or add it to --cidrPools.
	ReasonAddressOfNode       = "AddressOfNode"       // The wanted address is one of a Node, which nobody could reach any more; choose another, and leave those of Nodes out of --cidrPools.
	ReasonNoSuchPool          = "NoSuchPool"          // The annotation poolSelect names a pool that --cidrPools lacks; correct one of them.
	ReasonNoAddressOfFamily   = "NoAddressOfFamily"   // The pool has no address of the family that the service wants; add some to it (--cidrPools), or name another pool.
	ReasonNotAccepted         = "NotAccepted"         // There is no address before the service is accepted; see the condition Accepted.

	// IPv6Served.
	ReasonIPv6NotServed = "IPv6NotServed" // The IPv6 address is reserved and not published, for nodes forward IPv4 alone; have an IPv4 address too (PreferDualStack).

	// Reserved.
	ReasonReserved = "Reserved" // Holds: no other service gets the addresses in the message, which are not published; the conditions Accepted and IPv6Served say why.

	// Reachable.
	ReasonEndpointsReady   = "EndpointsReady"   // Holds: every port has a backend.
	ReasonNoReadyEndpoints = "NoReadyEndpoints" // A port has no ready endpoint, and its clients are refused; look at the pods and the selector.
	ReasonNoNodeAddress    = "NoNodeAddress"    // Endpoints are on a Node that is not known, or has no IPv4 InternalIP; add the Node or its address.
	ReasonTooManyEndpoints = "TooManyEndpoints" // A port has more endpoints than are served, or all ports together; scale down, or do as the message says.
	ReasonNoEligibleNode   = "NoEligibleNode"   // No Node, or with externalTrafficPolicy Local none that has endpoints, is ready and without the label that excludes it from load balancers; mend a Node or take the label off.

	// Programmed. Others are those of nodes.
	ReasonProgrammed      = "Programmed"      // Holds: every load balancer node serves it.
	ReasonPending         = "Pending"         // Unknown: load balancer nodes have not said yet; wait, and look at their weir if it stays.
	ReasonNoNode          = "NoNode"          // No node runs weir as load balancer; look at the pods behind the Service weir-lb (as shipped: loxilb-lb-service) in the controller's namespace or kube-system.
	ReasonNodeUnreachable = "NodeUnreachable" // Nothing was heard from a node for a while; look at its weir, and at the network between.
	ReasonNotProgrammed   = "NotProgrammed"   // Nodes do not serve it, for several reasons; the message has each.
)

// allocationReason names the first fault of an assignment that has one.
func allocationReason(given []ipam.Given) string {
	var err error
	for _, g := range given {
		if err == nil && !errors.Is(g.Err, ipam.ErrTogether) {
			err = g.Err
		}
	}
	for _, r := range []struct {
		sentinel error
		reason   string
	}{
		{ipam.ErrExhausted, ReasonPoolExhausted},
		{ipam.ErrInUse, ReasonAddressInUse},
		{ipam.ErrOutside, ReasonAddressOutsidePools},
		{ipam.ErrNode, ReasonAddressOfNode},
		{ipam.ErrFamily, ReasonNoAddressOfFamily},
	} {
		if errors.Is(err, r.sentinel) {
			return r.reason
		}
	}
	return ReasonNoSuchPool
}
