package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/bpf"
)

// EachCopy calls f for the copies of established flows that CPUs send by. They have
// counted packets that the table of established flows does not know of yet, for as
// long as a copy lives and until its flow's next packet. CPUs go on writing meanwhile:
// a copy may be read half old, half new, which only its counts can show.
func (m *Maps) EachCopy(f func(bpf.Cached)) error {
	keys, lines := make([]uint32, flowBatch), make([]bpf.Cached, flowBatch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.cache.BatchLookup(&cursor, keys, lines, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read copies of flows: %w", err)
		}
		for _, line := range lines[:n] {
			if line.Key.Proto != 0 {
				f(line)
			}
		}
		if err != nil {
			return nil // the end
		}
	}
}

// DropCopies lets every CPU ask the table of established flows again: for who has
// removed entries of it. Safe for concurrent use.
func (m *Maps) DropCopies() error {
	m.counting.Lock()
	defer m.counting.Unlock()
	var e bpf.Epoch
	err := m.epoch.Lookup(uint32(0), &e)
	if err == nil {
		e.Number++
		err = m.epoch.Put(uint32(0), e)
	}
	if err != nil {
		return fmt.Errorf("drop copies of flows: %w", err)
	}
	return nil
}

// IsCopyOf tells whether a copy is of this entry, not of an earlier connection with
// the same key.
func IsCopyOf(c bpf.Cached, flow bpf.Flow) bool {
	r := c.Rewrite
	return r.Saddr == flow.Saddr && r.Daddr == flow.Daddr && r.Sport == flow.Sport && r.Dport == flow.Dport
}
