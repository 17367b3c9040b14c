package bpf

// Layouts of map keys and values, generated from BTF (lib/types.h has the
// documentation). Addresses and ports are in network order: see Addr and Port.
type (
	Backend    = tcBackend
	Clock      = tcClock
	Config     = tcConfig
	Device     = tcDevice
	Flow       = tcFlow
	FlowKey    = tcFlowKey
	Nexthop    = tcNexthop
	Service    = tcService
	ServiceKey = tcServiceKey
	VIP        = tcVip
)

// Values of Flow.State.
const (
	FlowHalfOpen    = uint8(tcFlowStateFLOW_HALF_OPEN)
	FlowEstablished = uint8(tcFlowStateFLOW_ESTABLISHED)
	FlowClosing     = uint8(tcFlowStateFLOW_CLOSING)
)

// Bits of Flow.Flags.
const (
	FlowReply   = uint8(tcFlowFlagsFLOW_REPLY)
	FlowSeenFIN = uint8(tcFlowFlagsFLOW_SEEN_FIN)
	FlowTaken   = uint8(tcFlowFlagsFLOW_TAKEN)
)

// VIPActive is a bit of VIP.Flags.
const VIPActive = uint32(tcVipFlagsVIP_ACTIVE)

// Values of Service.Mode.
const (
	ModeDefault = uint8(tcServiceModeMODE_DEFAULT)
	ModeOnearm  = uint8(tcServiceModeMODE_ONEARM)
	ModeFullnat = uint8(tcServiceModeMODE_FULLNAT)
)

// AlgorithmRR is a value of Service.Algorithm.
const AlgorithmRR = uint8(tcServiceAlgorithmALGORITHM_RR)

// Bits of Nexthop.Flags.
const (
	NexthopValid    = uint16(tcNexthopFlagsNEXTHOP_VALID)
	NexthopXDP      = uint16(tcNexthopFlagsNEXTHOP_XDP)
	NexthopRedirect = uint16(tcNexthopFlagsNEXTHOP_REDIRECT)
)

// Bits of Device.Flags.
const (
	DeviceXDPTx    = uint32(tcDeviceFlagsDEVICE_XDP_TX)
	DeviceRedirect = uint32(tcDeviceFlagsDEVICE_REDIRECT)
)
