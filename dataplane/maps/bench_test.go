package maps

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/bpf"
)

// BenchmarkEachFlow walks a table of 200 000 flows.
func BenchmarkEachFlow(b *testing.B) {
	spec, err := bpf.LoadTC()
	if err != nil {
		b.Fatal(err)
	}
	m, err := ebpf.NewMap(spec.Maps[bpf.MapFlows])
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	const n = 200_000
	keys, values := make([]bpf.FlowKey, n), make([]bpf.Flow, n)
	for i := range keys {
		keys[i] = key(i)
		keys[i].Proto = uint8(i >> 16)
	}
	if _, err := m.BatchUpdate(keys, values, nil); err != nil {
		b.Fatal(err)
	}
	maps := &Maps{flows: m}
	for b.Loop() {
		seen := 0
		if err := maps.EachFlow(Established, func(bpf.FlowKey, bpf.Flow) { seen++ }); err != nil || seen != n {
			b.Fatalf("saw %d flows, %v", seen, err)
		}
	}
}
