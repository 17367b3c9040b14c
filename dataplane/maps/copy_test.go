package maps

import (
	"testing"

	"github.com/weir-lb/weir/bpf"
)

func TestEachCopySeesEveryLineInUse(t *testing.T) {
	maps, loaded := mustMaps(t)
	m := loaded[bpf.MapCache]
	for _, i := range []uint32{0, 1, flowBatch, m.MaxEntries() - 1} {
		must(t, m.Put(i, bpf.Cached{Key: key(int(i)), Packets: i}))
	}
	seen := map[uint32]bool{}
	must(t, maps.EachCopy(func(c bpf.Cached) {
		if c.Key != key(int(c.Packets)) || seen[c.Packets] {
			t.Errorf("saw %+v, seen before: %t", c, seen[c.Packets])
		}
		seen[c.Packets] = true
	}))
	if len(seen) != 4 {
		t.Errorf("saw %v, want the four lines in use", seen)
	}
}

func TestDropCopiesCountsOn(t *testing.T) {
	maps, loaded := mustMaps(t)
	for want := uint32(1); want < 3; want++ {
		must(t, maps.DropCopies())
		var e bpf.Epoch
		must(t, loaded[bpf.MapEpoch].Lookup(uint32(0), &e))
		if e.Number != want {
			t.Errorf("epoch %d, want %d", e.Number, want)
		}
	}
}
