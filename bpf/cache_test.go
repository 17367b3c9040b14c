package bpf

import "testing"

func TestCacheLinesFitMemory(t *testing.T) {
	for cpus, want := range map[int]int{1: 131072, 4: 131072, 5: 65536, 8: 65536, 9: 32768, 128: 4096, 8192: 64} {
		if got := CacheLines(cpus); got != want {
			t.Errorf("%d CPUs have %d lines each, want %d", cpus, got, want)
		}
	}
}

// Four ways need four lines, whatever the number of CPUs.
func TestCacheHasFourLinesAtLeast(t *testing.T) {
	if got := CacheLines(1 << 20); got != 4 {
		t.Errorf("got %d lines, want 4", got)
	}
}
