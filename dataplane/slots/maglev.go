package slots

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
)

// maglevSizes are the primes that tables of Maglev have for their size, each four
// times the one before, so that a service seldom outgrows its own; the last is the
// largest below MaxSize.
var maglevSizes = []int{1021, 4093, 16381, 32749}

// MaglevSize returns the size of the table of a service with so many backends: the
// smallest of four primes that is at least 200 times their number, so that shares
// differ by half a percent, and a backend that leaves moves 2 % of the others' slots
// at most where weights are equal (with 100 times, 4 %). From 164 backends on it is the largest,
// and shares differ by more: by 3 % where there are 1024.
func MaglevSize(backends int) int {
	for _, size := range maglevSizes {
		if size >= 200*backends {
			return size
		}
	}
	return maglevSizes[len(maglevSizes)-1]
}

// Maglev builds tables for a choice by hash (Eisenbud et al., "Maglev", NSDI 2016,
// section 3.4): equal on all nodes in whatever order the backends come, and where one
// backend comes or goes nearly all slots of the others stay theirs. A backend is known
// by its address.
type Maglev struct {
	// Size is that of the table, in slots: MaglevSize of all backends that the
	// service has. Those that get no slots count too, as another size makes quite
	// another table.
	Size int
}

var _ Builder = Maglev{}

// Build fills the table by turns: a backend takes the first free slot of a
// permutation of its own. In each round the heaviest ones have a turn, the others as
// often as their weight is to the heaviest one's; all have one in the first. Costs some
// ln(Size) steps a slot: 10 backends take 0.15 ms, the largest table 2.5 ms.
func (m Maglev) Build(backends []Backend) []int {
	if len(backends) == 0 {
		return nil
	}
	turns := preferences(backends, m.Size)
	heaviest := 0
	for _, t := range turns {
		heaviest = max(heaviest, t.weight)
	}
	for i := range turns {
		turns[i].credit = heaviest - turns[i].weight
	}
	table := make([]int, m.Size)
	for i := range table {
		table[i] = -1
	}
	for filled := 0; ; {
		for i := range turns {
			t := &turns[i]
			if t.credit += t.weight; t.credit < heaviest {
				continue
			}
			t.credit -= heaviest
			table[t.free(table)] = t.backend
			if filled++; filled == len(table) {
				return table
			}
		}
	}
}

// preference is the order in which a backend wants the slots of a table, from next on
// by steps of skip, which reach each slot once as the size is a prime.
type preference struct {
	backend    int // index
	weight     int
	credit     int
	next, skip int
}

// preferences returns those of all backends by address.
func preferences(backends []Backend, size int) []preference {
	all := make([]preference, len(backends))
	for i, b := range backends {
		offset, skip := hash(b.Address)
		all[i] = preference{
			backend: i, weight: max(int(b.Weight), 1),
			next: int(offset % uint64(size)), skip: int(skip%uint64(size-1)) + 1,
		}
	}
	slices.SortFunc(all, func(a, b preference) int {
		return backends[a.backend].Address.Compare(backends[b.backend].Address)
	})
	return all
}

// free returns the first slot that the backend wants and nobody has.
func (p *preference) free(table []int) int {
	for {
		slot := p.next
		p.next = (p.next + p.skip) % len(table)
		if table[slot] < 0 {
			return slot
		}
	}
}

// hash returns two independent numbers. They must never change: nodes of different
// releases agree by them.
func hash(address netip.AddrPort) (offset, skip uint64) {
	ip := address.Addr().As16()
	sum := sha256.Sum256(binary.BigEndian.AppendUint16(ip[:], address.Port()))
	return binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])
}
