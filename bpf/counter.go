package bpf

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

// Hook is where a program runs; each has counters of its own.
type Hook = tcHook

// The hooks: XDP and TC at ingress, TC at egress.
const (
	HookXDP    = tcHookHOOK_XDP
	HookTC     = tcHookHOOK_TC
	HookEgress = tcHookHOOK_EGRESS
)

// String returns "xdp", "tc" or "egress".
func (h tcHook) String() string {
	switch h {
	case HookXDP:
		return "xdp"
	case HookTC:
		return "tc"
	case HookEgress:
		return "egress"
	}
	return fmt.Sprintf("hook %d", uint32(h))
}

// Hooks returns all hooks in ascending order.
func Hooks() []Hook { return []Hook{HookXDP, HookTC, HookEgress} }

// Counter is what became of a packet (lib/counters.h). For each hook
// in = forwarded + passed + the sum of all drop reasons.
type Counter = tcCounter

// Counters that are no drop reasons; all others are. Packets of CounterAnswered
// are counted under their drop reason too.
const (
	CounterIn        = tcCounterCOUNTER_IN
	CounterForwarded = tcCounterCOUNTER_FORWARDED
	CounterPassed    = tcCounterCOUNTER_PASSED
	CounterAnswered  = tcCounterCOUNTER_ANSWERED
)

// Drop reasons that code outside this package names. Counters lists them all.
const (
	DropNoService   = tcCounterDROP_NO_SERVICE
	DropNoBackend   = tcCounterDROP_NO_BACKEND
	DropNoFlow      = tcCounterDROP_NO_FLOW
	DropNoPort      = tcCounterDROP_NO_PORT
	DropNoSource    = tcCounterDROP_NO_SOURCE
	DropFlowsFull   = tcCounterDROP_FLOWS_FULL
	DropContended   = tcCounterDROP_CONTENDED
	DropFragment    = tcCounterDROP_FRAGMENT
	DropMalformed   = tcCounterDROP_MALFORMED
	DropSpoofed     = tcCounterDROP_SPOOFED
	DropProtocol    = tcCounterDROP_PROTOCOL
	DropTTLExceeded = tcCounterDROP_TTL_EXCEEDED
	DropMTUExceeded = tcCounterDROP_MTU_EXCEEDED
	DropNoRoute     = tcCounterDROP_NO_ROUTE
	DropBlackhole   = tcCounterDROP_BLACKHOLE
	DropUnreachable = tcCounterDROP_UNREACHABLE
	DropProhibited  = tcCounterDROP_PROHIBITED
	DropFwdDisabled = tcCounterDROP_FWD_DISABLED
	DropRouteEncap  = tcCounterDROP_ROUTE_ENCAP
	DropSourceRange = tcCounterDROP_SOURCE_RANGE
	DropLimited     = tcCounterDROP_LIMITED
	DropInternal    = tcCounterDROP_INTERNAL
)

// MaxCounters is the distance between the rows of two hooks in the map counters.
const MaxCounters = 64

// Index returns the key of c in the map counters (values: uint64 for each CPU).
func (c tcCounter) Index(h Hook) uint32 { return uint32(h)*MaxCounters + uint32(c) }

// IsDrop tells whether c is a drop reason.
func (c tcCounter) IsDrop() bool { return c > CounterPassed && c != CounterAnswered }

// Counters returns all counters in ascending order.
func Counters() []Counter {
	all := make([]Counter, tcCounterCOUNTER_END)
	for i := range all {
		all[i] = Counter(i)
	}
	return all
}

// String returns the counter's name as users see it: "in", "forwarded",
// "no_flow". The names come from the object's BTF, so no list is kept here.
func (c tcCounter) String() string {
	if name, ok := counterNames()[uint64(c)]; ok {
		return name
	}
	return fmt.Sprintf("counter_%d", uint32(c))
}

// counterNames reads enum counter from the embedded object, which is our own:
// a failure is a broken build, and names degrade to numbers.
var counterNames = sync.OnceValue(func() map[uint64]string {
	names := make(map[uint64]string)
	spec, err := LoadTC()
	if err != nil {
		return names
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("counter", &enum); err != nil {
		return names
	}
	for _, v := range enum.Values {
		name := strings.TrimPrefix(strings.TrimPrefix(v.Name, "COUNTER_"), "DROP_")
		names[v.Value] = strings.ToLower(name)
	}
	return names
})
