package slots

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// pods are backends at addresses of their own, all of weight 1.
func pods(n int) []Backend {
	backends := make([]Backend, n)
	for i := range backends {
		backends[i] = Backend{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 42, byte(i / 250), byte(1 + i%250)}), 8080), Weight: 1}
	}
	return backends
}

func maglev(backends []Backend) []int {
	return Maglev{Size: MaglevSize(len(backends))}.Build(backends)
}

func TestMaglevSize(t *testing.T) {
	for backends, want := range map[int]int{0: 1021, 1: 1021, 5: 1021, 6: 4093, 20: 4093, 21: 16381, 81: 16381, 82: 32749, 163: 32749, 1024: 32749} {
		if got := MaglevSize(backends); got != want {
			t.Errorf("%d backends: a table of %d, want %d", backends, got, want)
		}
	}
	for i, size := range maglevSizes {
		if size > MaxSize || i > 0 && size <= maglevSizes[i-1] {
			t.Errorf("%v: %d is out of order, or over %d", maglevSizes, size, MaxSize)
		}
		for divisor := 2; divisor*divisor <= size; divisor++ {
			if size%divisor == 0 {
				t.Errorf("%d is %d times %d: steps do not reach all slots", size, divisor, size/divisor)
			}
		}
	}
}

// Nodes of two releases agree only while this table stays as it is.
func TestMaglevTableIsFixed(t *testing.T) {
	backends := pods(3)
	backends[2].Weight = 2
	got := Maglev{Size: 17}.Build(backends)
	want := []int{1, 2, 2, 2, 2, 2, 2, 0, 1, 0, 0, 2, 0, 1, 2, 0, 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestMaglevOfNoBackendIsEmpty(t *testing.T) {
	if got := maglev(nil); len(got) > 0 {
		t.Errorf("%d slots", len(got))
	}
}

// The order in which backends come, and weights that are all multiplied, change nothing.
func TestMaglevIsEqualOnAllNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		backends := pods(rapid.IntRange(1, 30).Draw(t, "backends"))
		for i := range backends {
			backends[i].Weight = rapid.Uint16Range(0, 10).Draw(t, "weight")
		}
		other := rapid.Permutation(backends).Draw(t, "order")
		mine, theirs := maglev(backends), maglev(other)
		for i := range other {
			other[i].Weight = max(other[i].Weight, 1) * 10
		}
		heavier := maglev(other)
		for slot := range mine {
			want := backends[mine[slot]].Address
			if other[theirs[slot]].Address != want || other[heavier[slot]].Address != want {
				t.Fatalf("slot %d: %s, in another order %s, and with weights times 10 %s",
					slot, want, other[theirs[slot]].Address, other[heavier[slot]].Address)
			}
		}
	})
}

// Section 3.4 of the paper: backends that have turns alike differ by one slot at most.
func TestMaglevSharesAreEven(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 6, 10, 20, 100, 163, 1024} {
		shares := count(maglev(pods(n)), n)
		if least, most := slices.Min(shares), slices.Max(shares); most-least > 1 {
			t.Errorf("%d backends have %d to %d slots", n, least, most)
		}
	}
}

// Everybody has one slot at least, and the share of its weight but for its turns in the first and the
// last round, and for those that lighter ones have in the first, whatever their weight: after R+1 rounds
// of which the last is not whole, floor(1 + weight R / heaviest) at most, and total / heaviest is
// less than all slots but the one of the last round.
func TestMaglevKeepsWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "backends")
		backends, total, heaviest := pods(n), 0.0, 0.0
		for i := range backends {
			backends[i].Weight = rapid.Uint16Range(1, 100).Draw(t, "weight")
			total += float64(backends[i].Weight)
			heaviest = max(heaviest, float64(backends[i].Weight))
		}
		table := maglev(backends)
		for i, got := range count(table, n) {
			weight := float64(backends[i].Weight)
			share := weight / total
			least, most := share*float64(len(table)-n)-1, share*float64(len(table)-1)+1+weight/heaviest
			if got < 1 || float64(got) < least || float64(got) > most {
				t.Fatalf("backend %d has %d slots, its weight gives it %.1f to %.1f", i, got, least, most)
			}
		}
	})
}

// One backend leaves, and its slots are shared out; those of the others stay.
func TestMaglevMovesFewSlotsOfOthers(t *testing.T) {
	const most = 0.02
	heavy := func(i int) uint16 { return uint16(1 + i%3) }
	equal := func(int) uint16 { return 1 }
	tests := []struct {
		backends int
		weight   func(int) uint16
	}{{2, equal}, {5, equal}, {6, equal}, {10, equal}, {10, heavy}, {20, equal}, {100, equal}, {100, heavy}, {1024, equal}}
	for _, tt := range tests {
		backends := pods(tt.backends)
		for i := range backends {
			backends[i].Weight = tt.weight(i)
		}
		whole := Maglev{Size: MaglevSize(tt.backends)}.Build(backends)
		for gone := 0; gone < tt.backends; gone += max(1, tt.backends/20) {
			table := Maglev{Size: MaglevSize(tt.backends)}.Build(slices.Delete(slices.Clone(backends), gone, gone+1))
			moved, others := 0, 0
			for slot, before := range whole {
				after := table[slot]
				if after >= gone {
					after++
				}
				if before != gone {
					others++
					moved += min(1, max(after-before, before-after))
				}
			}
			if share := float64(moved) / float64(others); share > most {
				t.Errorf("%d backends, the one of weight %d leaves: %.2f %% of the others' slots move", tt.backends, backends[gone].Weight, 100*share)
			}
		}
	}
}

func BenchmarkMaglevBuild(b *testing.B) {
	for _, n := range []int{3, 10, 100, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			backends := pods(n)
			for b.Loop() {
				maglev(backends)
			}
		})
	}
}
