package maps

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
)

// FlowTable is one of the two maps that hold flows.
type FlowTable uint8

// The tables, in the order in which a flow moves.
const (
	HalfOpen FlowTable = iota
	Established
)

func (m *Maps) flowMap(t FlowTable) *ebpf.Map {
	if t == HalfOpen {
		return m.flowsNew
	}
	return m.flows
}

// FlowCapacity is how many entries the table of established flows holds.
func (m *Maps) FlowCapacity() uint32 { return m.flows.MaxEntries() }

// flowBatch is how many entries one system call reads, 256 KiB of them.
const flowBatch = 4096

// EachFlow calls f for the entries of a table. A flow that is there during
// the whole walk is seen once; others may be seen or not. It costs a system
// call for about flowBatch entries, and takes each bucket's lock for as long
// as copying it takes.
func (m *Maps) EachFlow(t FlowTable, f func(bpf.FlowKey, bpf.Flow)) error {
	size := flowBatch
	keys, values := make([]bpf.FlowKey, size), make([]bpf.Flow, size)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.flowMap(t).BatchLookup(&cursor, keys, values, nil)
		if errors.Is(err, unix.ENOSPC) { // one bucket has more: same cursor, more room
			size *= 2
			keys, values = make([]bpf.FlowKey, size), make([]bpf.Flow, size)
			continue
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read flows: %w", err)
		}
		for i := range n {
			f(keys[i], values[i])
		}
		if err != nil {
			return nil // the end
		}
	}
}

// Flow reads one entry, false when it does not exist.
func (m *Maps) Flow(t FlowTable, key bpf.FlowKey) (bpf.Flow, bool, error) {
	var flow bpf.Flow
	err := m.flowMap(t).Lookup(key, &flow)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return flow, false, nil
	}
	if err != nil {
		return flow, false, fmt.Errorf("read flow: %w", err)
	}
	return flow, true, nil
}

// DeleteFlow removes one entry; an absent one is success.
func (m *Maps) DeleteFlow(t FlowTable, key bpf.FlowKey) error {
	if err := remove(m.flowMap(t), key); err != nil {
		return fmt.Errorf("delete flow: %w", err)
	}
	return nil
}

// InsertFlow adds an entry where there is none with that key. False: there is
// one, or the table is full.
func (m *Maps) InsertFlow(t FlowTable, key bpf.FlowKey, flow bpf.Flow) (bool, error) {
	err := m.flowMap(t).Update(key, flow, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) || errors.Is(err, unix.E2BIG) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("insert flow: %w", err)
	}
	return true, nil
}

// ReplaceFlow changes an entry; an absent one stays absent.
func (m *Maps) ReplaceFlow(t FlowTable, key bpf.FlowKey, flow bpf.Flow) error {
	err := m.flowMap(t).Update(key, flow, ebpf.UpdateExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("replace flow: %w", err)
	}
	return nil
}

// PairKey returns the key of the other direction: what answers to the
// rewritten packet look like.
func PairKey(key bpf.FlowKey, flow bpf.Flow) bpf.FlowKey {
	return bpf.FlowKey{
		Saddr: flow.Daddr, Daddr: flow.Saddr, Sport: flow.Dport, Dport: flow.Sport, Proto: key.Proto,
	}
}

// VIPOf returns the service address that a flow's client calls: where its packets go, and
// where those of its other direction seem to come from.
func VIPOf(key bpf.FlowKey, flow bpf.Flow) netip.Addr {
	if flow.Flags&bpf.FlowReply != 0 {
		return bpf.AddrFrom(flow.Saddr)
	}
	return bpf.AddrFrom(key.Daddr)
}

// flowStates are the names of bpf.Flow.State in the API.
var flowStates = map[uint8]string{
	bpf.FlowHalfOpen:    "half-open",
	bpf.FlowEstablished: "established",
	bpf.FlowClosing:     "closing",
}

// FlowIn turns an entry into the API's form. Service and IdleTime are the
// caller's to fill in.
func FlowIn(key bpf.FlowKey, flow bpf.Flow) v1.Flow {
	f := v1.Flow{
		Protocol:       v1.ProtocolFromNumber(key.Proto),
		Source:         addrPort(key.Saddr, key.Sport),
		Destination:    addrPort(key.Daddr, key.Dport),
		NewSource:      addrPort(flow.Saddr, flow.Sport),
		NewDestination: addrPort(flow.Daddr, flow.Dport),
		Direction:      "forward",
		State:          flowStates[flow.State],
		Packets:        flow.Packets,
		Bytes:          flow.Bytes,
	}
	if flow.Flags&bpf.FlowReply != 0 {
		f.Direction = "reply"
	}
	return f
}

func addrPort(address uint32, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(bpf.AddrFrom(address), bpf.Port(port))
}
