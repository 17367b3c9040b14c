package bpf

// Layouts of map keys and values, generated from BTF: lib/types.h has the
// documentation of their fields. Addresses and ports are in network order, see
// Addr and Port.
type (
	// Affinity is the value of affinity.
	Affinity = tcAffinity
	// AffinityKey is its key.
	AffinityKey = tcAffinityKey
	// Backend is the value of backends.
	Backend = tcBackend
	// Cached is the value of cache.
	Cached = tcCached
	// Clock is what read_clock fills in.
	Clock = tcClock
	// Config is the one value of config.
	Config = tcConfig
	// Device is the value of devices.
	Device = tcDevice
	// Epoch is the one value of epoch.
	Epoch = tcEpoch
	// Flow is the value of flows and flows_new.
	Flow = tcFlow
	// FlowKey is their key.
	FlowKey = tcFlowKey
	// Nexthop is the value of nexthops.
	Nexthop = tcNexthop
	// Service is the value of services.
	Service = tcService
	// ServiceKey is its key.
	ServiceKey = tcServiceKey
	// SourceKey is the key of sources (value: uint32).
	SourceKey = tcSourceKey
	// VIP is the value of vips.
	VIP = tcVip
)

// Values of Flow.State.
const (
	FlowHalfOpen    = uint8(tcFlowStateFLOW_HALF_OPEN)
	FlowEstablished = uint8(tcFlowStateFLOW_ESTABLISHED)
	FlowClosing     = uint8(tcFlowStateFLOW_CLOSING)
)

// Bits of Flow.Flags.
const (
	FlowReply    = uint8(tcFlowFlagsFLOW_REPLY)
	FlowSeenFIN  = uint8(tcFlowFlagsFLOW_SEEN_FIN)
	FlowTaken    = uint8(tcFlowFlagsFLOW_TAKEN)
	FlowUp       = uint8(tcFlowFlagsFLOW_UP)
	FlowPairUp   = uint8(tcFlowFlagsFLOW_PAIR_UP)
	FlowAnswered = uint8(tcFlowFlagsFLOW_ANSWERED)
)

// Bits of VIP.Flags.
const (
	VIPActive  = uint32(tcVipFlagsVIP_ACTIVE)
	VIPRetired = uint32(tcVipFlagsVIP_RETIRED)
)

// Values of Service.Mode.
const (
	ModeDefault = uint8(tcServiceModeMODE_DEFAULT)
	ModeOnearm  = uint8(tcServiceModeMODE_ONEARM)
	ModeFullnat = uint8(tcServiceModeMODE_FULLNAT)
)

// Bits of Backend.Flags.
const (
	BackendLocal   = uint16(tcBackendFlagsBACKEND_LOCAL)
	BackendLB      = uint16(tcBackendFlagsBACKEND_LB)
	BackendRetired = uint16(tcBackendFlagsBACKEND_RETIRED)
)

// ServiceSources is a bit of Service.Flags.
const ServiceSources = uint16(tcServiceFlagsSERVICE_SOURCES)

// Values of Service.Algorithm.
const (
	AlgorithmRR   = uint8(tcServiceAlgorithmALGORITHM_RR)
	AlgorithmHash = uint8(tcServiceAlgorithmALGORITHM_HASH)
)

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
	DeviceEgress   = uint32(tcDeviceFlagsDEVICE_EGRESS)
)
