package slots

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func weighted(weights ...uint16) []Backend {
	backends := make([]Backend, len(weights))
	for i, w := range weights {
		backends[i].Weight = w
	}
	return backends
}

func TestRoundRobinInterleaves(t *testing.T) {
	tests := []struct {
		name    string
		weights []uint16
		want    []int
	}{
		{"no backend gives no slot", nil, nil},
		{"one backend takes one slot whatever its weight", []uint16{70}, []int{0}},
		{"weight zero counts as one", []uint16{0, 1, 0}, []int{0, 1, 2}},
		{"equal weights reduce to one slot each", []uint16{100, 100, 100}, []int{0, 1, 2}},
		{"a common divisor leaves", []uint16{40, 20}, []int{0, 1, 0}},
		{"a heavy backend is spread, not bunched", []uint16{5, 1, 1}, []int{0, 0, 1, 0, 2, 0, 0}},
		{"halves alternate", []uint16{2, 1, 1}, []int{0, 1, 2, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := RoundRobin{}.Build(weighted(tt.weights...))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func genWeights(maxBackends int) *rapid.Generator[[]uint16] {
	return rapid.SliceOfN(rapid.Uint16Range(0, 100), 1, maxBackends)
}

func count(table []int, backends int) []int {
	counts := make([]int, backends)
	for _, b := range table {
		counts[b]++
	}
	return counts
}

func TestRoundRobinSharesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := genWeights(40).Draw(t, "weights")
		table := RoundRobin{}.Build(weighted(weights...))
		total := 0
		for _, w := range weights {
			total += max(int(w), 1)
		}
		for i, n := range count(table, len(weights)) {
			if n*total != max(int(weights[i]), 1)*len(table) {
				t.Fatalf("backend %d has %d of %d slots, weight %d of %d", i, n, len(table), weights[i], total)
			}
		}
	})
}

// A backend never waits longer than twice its fair distance for its next
// slot, wherever the walk begins: that is what short windows need.
func TestRoundRobinSpreadsEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := genWeights(20).Draw(t, "weights")
		table := RoundRobin{}.Build(weighted(weights...))
		shares := count(table, len(weights))
		last := make([]int, len(weights))
		for i := range last {
			last[i] = -1
		}
		for at, b := range slices.Concat(table, table) {
			fair := float64(len(table)) / float64(shares[b])
			if last[b] >= 0 && float64(at-last[b]) > 2*math.Ceil(fair) {
				t.Fatalf("backend %d waits %d slots, fair are %.1f, in %v", b, at-last[b], fair, table)
			}
			last[b] = at
		}
	})
}

// 200 new connections in a row see the weights within 5 % of the whole.
func TestRoundRobinShortWindows(t *testing.T) {
	const window = 200
	rapid.Check(t, func(t *rapid.T) {
		weights := genWeights(10).Draw(t, "weights")
		table := RoundRobin{}.Build(weighted(weights...))
		start := rapid.IntRange(0, len(table)-1).Draw(t, "start")
		seen := make([]int, len(weights))
		for i := range window {
			seen[table[(start+i)%len(table)]]++
		}
		for i, share := range count(table, len(weights)) {
			want := float64(share) / float64(len(table))
			if got := float64(seen[i]) / window; math.Abs(got-want) > 0.05 {
				t.Fatalf("backend %d got %.3f of the window, share is %.3f", i, got, want)
			}
		}
	})
}

func TestRoundRobinIsBounded(t *testing.T) {
	tests := []struct {
		name    string
		weights func(i int) uint16
	}{
		{"1024 backends, every weight", func(i int) uint16 { return uint16(1 + i%100) }},
		{"1024 backends, one light among heavy ones", func(i int) uint16 { return uint16(99 - 98*(i/1023)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			backends := make([]Backend, 1024)
			total := 0
			for i := range backends {
				backends[i].Weight = tt.weights(i)
				total += int(backends[i].Weight)
			}
			table := RoundRobin{}.Build(backends)
			if len(table) > MaxSize {
				t.Fatalf("%d slots, at most %d", len(table), MaxSize)
			}
			for i, n := range count(table, len(backends)) {
				ideal := float64(backends[i].Weight) * float64(len(table)) / float64(total)
				if n < 1 || math.Abs(float64(n)-ideal) > 1 {
					t.Errorf("backend %d has %d slots, ideal are %.2f", i, n, ideal)
				}
			}
		})
	}
}

func TestScaleKeepsTheLimitAndEveryone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 100), 1, 50).Draw(t, "weights")
		limit := rapid.IntRange(len(weights), 200).Draw(t, "limit")
		shares := scale(slices.Clone(weights), limit)
		if got := sum(shares); got > limit || (sum(weights) > limit && got != limit) {
			t.Fatalf("shares %v sum to %d, limit %d", shares, got, limit)
		}
		if slices.Min(shares) < 1 {
			t.Fatalf("a backend has no slot: %v", shares)
		}
	})
}

func BenchmarkRoundRobinBuild(b *testing.B) {
	backends := make([]Backend, 10)
	for i := range backends {
		backends[i].Weight = uint16(1 + i)
	}
	for b.Loop() {
		RoundRobin{}.Build(backends)
	}
}
