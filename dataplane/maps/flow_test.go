package maps

import (
	"net/netip"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
)

func key(i int) bpf.FlowKey {
	return bpf.FlowKey{
		Saddr: bpf.Addr(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), Sport: bpf.Port(40000),
		Daddr: bpf.Addr(vip), Dport: bpf.Port(80), Proto: v1.TCP.Number(),
	}
}

func TestEachFlowSeesEveryOneOnce(t *testing.T) {
	maps, loaded := mustMaps(t)
	const n = 3*flowBatch + 17
	for table, m := range map[FlowTable]string{HalfOpen: bpf.MapFlowsNew, Established: bpf.MapFlows} {
		keys, values := make([]bpf.FlowKey, n), make([]bpf.Flow, n)
		for i := range keys {
			keys[i], values[i] = key(i), bpf.Flow{Backend: uint32(i)}
		}
		_, err := loaded[m].BatchUpdate(keys, values, nil)
		must(t, err)
		seen := map[bpf.FlowKey]int{}
		must(t, maps.EachFlow(table, func(k bpf.FlowKey, f bpf.Flow) {
			if k != key(int(f.Backend)) {
				t.Errorf("key %+v comes with backend %d", k, f.Backend)
			}
			seen[k]++
		}))
		if len(seen) != n {
			t.Errorf("%s: saw %d flows of %d", m, len(seen), n)
		}
		for k, times := range seen {
			if times != 1 {
				t.Errorf("%s: saw %+v %d times", m, k, times)
			}
		}
	}
}

func TestFlowIsReadAndDeleted(t *testing.T) {
	maps, loaded := mustMaps(t)
	must(t, loaded[bpf.MapFlows].Put(key(1), bpf.Flow{Backend: 9}))
	if f, ok, err := maps.Flow(Established, key(1)); !ok || err != nil || f.Backend != 9 {
		t.Errorf("got %+v, %t, %v", f, ok, err)
	}
	for range 2 {
		must(t, maps.DeleteFlow(Established, key(1)))
	}
	if _, ok, err := maps.Flow(Established, key(1)); ok || err != nil {
		t.Errorf("a deleted flow: %t, %v", ok, err)
	}
}

func TestFlowIsInsertedOnceAndReplacedOnlyWhereItIs(t *testing.T) {
	maps, _ := mustMaps(t)
	for _, table := range []FlowTable{HalfOpen, Established} {
		must(t, maps.ReplaceFlow(table, key(1), bpf.Flow{Backend: 1}))
		if _, ok, err := maps.Flow(table, key(1)); ok || err != nil {
			t.Errorf("replacing made an entry: %t, %v", ok, err)
		}
		for _, want := range []bool{true, false} {
			if ok, err := maps.InsertFlow(table, key(1), bpf.Flow{Backend: 2}); ok != want || err != nil {
				t.Errorf("insert: %t, %v, want %t", ok, err, want)
			}
		}
		must(t, maps.ReplaceFlow(table, key(1), bpf.Flow{Backend: 3}))
		if f, ok, err := maps.Flow(table, key(1)); !ok || err != nil || f.Backend != 3 {
			t.Errorf("got %+v, %t, %v, want backend 3", f, ok, err)
		}
	}
}

// What answers look like is the mirror of the rewritten packet, twice
// mirrored the packet itself.
func TestPairKey(t *testing.T) {
	forward := key(1)
	there := bpf.Flow{Saddr: bpf.Addr(vip), Sport: bpf.Port(5), Daddr: bpf.Addr(pod.Addr()), Dport: bpf.Port(pod.Port())}
	reply := PairKey(forward, there)
	want := bpf.FlowKey{
		Saddr: bpf.Addr(pod.Addr()), Sport: bpf.Port(pod.Port()), Daddr: bpf.Addr(vip), Dport: bpf.Port(5), Proto: v1.TCP.Number(),
	}
	if reply != want {
		t.Errorf("got %+v, want %+v", reply, want)
	}
	back := bpf.Flow{Saddr: forward.Daddr, Sport: forward.Dport, Daddr: forward.Saddr, Dport: forward.Sport}
	if PairKey(reply, back) != forward {
		t.Errorf("twice mirrored: %+v, want %+v", PairKey(reply, back), forward)
	}
}
