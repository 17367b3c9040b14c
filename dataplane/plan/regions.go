package plan

import (
	"cmp"
	"slices"
)

// regions are the free parts of the map slots, ordered and never adjacent.
type regions struct{ free []Region }

// newRegions returns what is left of size elements when used is taken away.
// Neighbouring gaps are one gap, so nothing has to be coalesced later. Used
// regions do not overlap; empty ones count for nothing.
func newRegions(size uint32, used []Region) *regions {
	used = slices.DeleteFunc(slices.Clone(used), func(r Region) bool { return r.Count == 0 })
	slices.SortFunc(used, func(a, b Region) int { return cmp.Compare(a.Offset, b.Offset) })
	r := &regions{}
	next := uint32(0)
	for _, u := range used {
		if u.Offset > next {
			r.free = append(r.free, Region{Offset: next, Count: u.Offset - next})
		}
		next = u.Offset + u.Count
	}
	if next < size {
		r.free = append(r.free, Region{Offset: next, Count: size - next})
	}
	return r
}

// take allocates count elements from the first gap that has them.
func (r *regions) take(count uint32) (Region, bool) {
	if count == 0 {
		return Region{}, true
	}
	for i, f := range r.free {
		if f.Count < count {
			continue
		}
		if f.Count == count {
			r.free = slices.Delete(r.free, i, i+1)
		} else {
			r.free[i] = Region{Offset: f.Offset + count, Count: f.Count - count}
		}
		return Region{Offset: f.Offset, Count: count}, true
	}
	return Region{}, false
}
