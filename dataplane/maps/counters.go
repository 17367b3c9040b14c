package maps

import (
	"fmt"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
)

// Counters sums the packet counters over all CPUs and hooks. A packet that
// XDP passes comes to TC and is counted there again, so that
// in = forwarded + passed + drops holds for each hook and for the sum. The
// counters move while they are read; the sum is exact when traffic rests.
// Drops has every reason, zero ones too, in the order of lib/counters.h.
func (m *Maps) Counters() (v1.Counters, error) {
	var total v1.Counters
	for _, c := range bpf.Counters() {
		sum, err := m.counter(c)
		if err != nil {
			return v1.Counters{}, fmt.Errorf("read counter %s: %w", c, err)
		}
		switch {
		case c == bpf.CounterIn:
			total.In = sum
		case c == bpf.CounterForwarded:
			total.Forwarded = sum
		case c == bpf.CounterPassed:
			total.Passed = sum
		case c == bpf.CounterAnswered:
			total.Answered = sum
		case c.IsDrop():
			total.Drops = append(total.Drops, v1.Drop{Reason: c.String(), Count: sum})
		}
	}
	return total, nil
}

func (m *Maps) counter(c bpf.Counter) (uint64, error) {
	var sum uint64
	for _, hook := range bpf.Hooks() {
		var perCPU []uint64
		if err := m.counters.Lookup(c.Index(hook), &perCPU); err != nil {
			return 0, err
		}
		for _, n := range perCPU {
			sum += n
		}
	}
	return sum, nil
}
