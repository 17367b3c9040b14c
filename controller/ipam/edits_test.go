package ipam

import (
	"net/netip"
	"slices"

	"go4.org/netipx"
	"pgregory.net/rapid"
)

// Edits of a world's pools, each one that somebody makes to --cidrPools. What they
// leave is what ParsePools could have read.

func (w *world) addPool(rt *rapid.T) {
	w.insert(rt, Pool{Name: w.drawUnused(rt), Ranges: []Range{w.drawFree(rt)}})
}

func (w *world) growPool(rt *rapid.T) {
	p := w.drawPool(rt)
	w.pools[p].Ranges = slices.Concat(w.pools[p].Ranges, []Range{w.drawFree(rt)})
}

// shrinkPool takes an address from a pool: the last one removes it.
func (w *world) shrinkPool(rt *rapid.T) {
	p := w.drawPool(rt)
	singles := w.singles(p)
	i := rapid.IntRange(0, len(singles)-1).Draw(rt, "address")
	if w.pools[p].Ranges = slices.Delete(singles, i, i+1); len(w.pools[p].Ranges) == 0 {
		w.pools = slices.Delete(w.pools, p, p+1)
	}
}

func (w *world) splitPool(rt *rapid.T) {
	p := w.drawPool(rt)
	singles := w.singles(p)
	if len(singles) < 2 {
		rt.Skip("one address")
	}
	at := rapid.IntRange(1, len(singles)-1).Draw(rt, "at")
	name := w.drawUnused(rt)
	w.pools[p].Ranges = singles[:at:at]
	w.insert(rt, Pool{Name: name, Ranges: singles[at:]})
}

func (w *world) renamePool(rt *rapid.T) { w.pools[w.drawPool(rt)].Name = w.drawUnused(rt) }

func (w *world) removePool(rt *rapid.T) {
	p := w.drawPool(rt)
	w.gone = append(w.gone, w.pools[p])
	w.pools = slices.Delete(w.pools, p, p+1)
}

func (w *world) bringBack(rt *rapid.T) {
	if len(w.gone) == 0 {
		rt.Skip("no pool was removed")
	}
	i := rapid.IntRange(0, len(w.gone)-1).Draw(rt, "removed pool")
	back := w.gone[i]
	if w.pool(back.Name) >= 0 || checkOverlap(slices.Concat(w.pools, []Pool{back})) != nil {
		rt.Skip("others have its name or addresses")
	}
	w.gone = slices.Delete(w.gone, i, i+1)
	w.insert(rt, back)
}

func (w *world) reorderPools(rt *rapid.T) {
	w.pools = rapid.Permutation(w.pools).Draw(rt, "pools' order")
}

func (w *world) reorderRanges(rt *rapid.T) {
	p := w.drawPool(rt)
	w.pools[p].Ranges = rapid.Permutation(w.pools[p].Ranges).Draw(rt, "ranges' order")
}

func (w *world) insert(rt *rapid.T, p Pool) {
	w.pools = slices.Insert(w.pools, rapid.IntRange(0, len(w.pools)).Draw(rt, "place"), p)
}

func (w *world) drawPool(rt *rapid.T) int {
	if len(w.pools) == 0 {
		rt.Skip("no pool")
	}
	return rapid.IntRange(0, len(w.pools)-1).Draw(rt, "pool")
}

func (w *world) drawUnused(rt *rapid.T) string {
	name := rapid.SampledFrom([]string{DefaultPool, DefaultPool, "b", "c", "d"}).Draw(rt, "pool's name")
	if w.pool(name) >= 0 {
		rt.Skip("the name is in use")
	}
	return name
}

// drawFree draws an address that no pool has.
func (w *world) drawFree(rt *rapid.T) Range {
	a := drawAddress(rt, rapid.Bool().Draw(rt, "IPv6"))
	if w.mayKeep(Request{}, a) {
		rt.Skip("a pool has the address")
	}
	return single(a)
}

// singles are the ranges of a pool, an address each.
func (w *world) singles(pool int) []Range {
	var out []Range
	for _, r := range w.pools[pool].Ranges {
		for a := r.From(); r.IPRange.Contains(a); a = a.Next() {
			out = append(out, single(a))
		}
	}
	return out
}

func single(a netip.Addr) Range { return Range{IPRange: netipx.IPRangeFrom(a, a)} }
