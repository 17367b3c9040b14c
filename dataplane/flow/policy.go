package flow

import (
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

// Policy is what a sweep goes by beside the time-outs of protocols. The zero
// value adds nothing.
type Policy struct {
	// IdleTimeouts are those of established flows by the id of their service.
	IdleTimeouts map[uint32]time.Duration
	// Gone are the ids of backends that do not exist any more. Their UDP flows
	// are over: nobody would answer, and nothing but silence ends them. TCP and
	// SCTP have ends of their own, and a backend that is gone may still finish.
	Gone map[uint32]bool
}

// over tells whether an entry has nothing more to wait for.
func (p Policy) over(k bpf.FlowKey, f bpf.Flow, table maps.FlowTable, now Instant) bool {
	idle := now.Since(f.LastSeen)
	if p.orphaned(k, f) && idle > orphanGrace {
		return true
	}
	if table == maps.Established {
		idle -= copyLag
	}
	return idle > p.timeout(k, f, table)
}

func (p Policy) orphaned(k bpf.FlowKey, f bpf.Flow) bool {
	return k.Proto == udpProtocol && p.Gone[f.Backend]
}

func (p Policy) timeout(k bpf.FlowKey, f bpf.Flow, table maps.FlowTable) time.Duration {
	if own, ok := p.IdleTimeouts[uint32(f.Service)]; ok && table == maps.Established && f.State == bpf.FlowEstablished {
		return own
	}
	return timeout(v1.ProtocolFromNumber(k.Proto), f.State, table == maps.HalfOpen)
}
