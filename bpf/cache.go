package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// A CPU's copies of established flows take 64 bytes each: 8 MiB, and those of all
// CPUs together at most 32 MiB.
const (
	maxLinesOfCPU = 1 << 17
	maxLines      = 1 << 19
	minLinesOfCPU = 4 // the ways of lib/cache.h
)

// CacheLines is how many copies of flows each of so many CPUs has by default, a
// power of two.
func CacheLines(cpus int) int {
	lines := maxLinesOfCPU
	for lines > minLinesOfCPU && lines*cpus > maxLines {
		lines /= 2
	}
	return lines
}

// SizeCache gives each of the possible CPUs its lines in the cache of flows, a power
// of two, four at least. All objects over the same maps must get the same.
func SizeCache(spec *ebpf.CollectionSpec, cpus, lines int) error {
	spec.Maps[MapCache].MaxEntries = uint32(lines * cpus)
	if err := spec.Variables[tcVarCacheMask].Set(uint32(lines - 1)); err != nil {
		return fmt.Errorf("size the cache of flows: %w", err)
	}
	return nil
}
