package decide

import (
	"errors"

	"github.com/weir-lb/weir/controller/ipam"
)

// Reasons of conditions, the closed list of those that a decision gives.
const (
	// Accepted.
	ReasonValid              = "Valid"
	ReasonValidWithIgnored   = "ValidWithIgnored"
	ReasonProbeDefaults      = "ProbeDefaults"
	ReasonInvalidPort        = "InvalidPort"
	ReasonInvalidProtocol    = "InvalidProtocol"
	ReasonNoNodePort         = "NoNodePort"
	ReasonUnknownMode        = "UnknownMode"
	ReasonInvalidAnnotation  = "InvalidAnnotation"
	ReasonInvalidAddress     = "InvalidAddress"
	ReasonInvalidSourceRange = "InvalidSourceRange"
	ReasonNotServed          = "NotServed"

	// Allocated.
	ReasonAssigned            = "Assigned"
	ReasonPoolExhausted       = "PoolExhausted"
	ReasonAddressInUse        = "AddressInUse"
	ReasonAddressOutsidePools = "AddressOutsidePools"
	ReasonNoSuchPool          = "NoSuchPool"
	ReasonNoAddressOfFamily   = "NoAddressOfFamily"
	ReasonNotAccepted         = "NotAccepted"

	// Reachable.
	ReasonEndpointsReady   = "EndpointsReady"
	ReasonNoReadyEndpoints = "NoReadyEndpoints"
	ReasonNoNodeAddress    = "NoNodeAddress"
	ReasonTooManyEndpoints = "TooManyEndpoints"
	ReasonNoEligibleNode   = "NoEligibleNode"

	// Programmed. Others are those of nodes.
	ReasonProgrammed      = "Programmed"
	ReasonPending         = "Pending"
	ReasonNoNode          = "NoNode"
	ReasonNodeUnreachable = "NodeUnreachable"
	ReasonNotProgrammed   = "NotProgrammed"
)

// allocationReason names the sentinel that err wraps.
func allocationReason(err error) string {
	for _, r := range []struct {
		sentinel error
		reason   string
	}{
		{ipam.ErrExhausted, ReasonPoolExhausted},
		{ipam.ErrInUse, ReasonAddressInUse},
		{ipam.ErrOutside, ReasonAddressOutsidePools},
		{ipam.ErrFamily, ReasonNoAddressOfFamily},
	} {
		if errors.Is(err, r.sentinel) {
			return r.reason
		}
	}
	return ReasonNoSuchPool
}
