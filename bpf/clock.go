package bpf

import (
	"math"
	"time"
)

// HZ returns the kernel's ticks a second from two readings of the program
// read_clock, rounded to one of the values that Linux can be built with on amd64
// and arm64. The readings must be at least 100 ms apart; 0 means they tell nothing.
func HZ(first, second Clock) uint32 {
	if second.Nanoseconds < first.Nanoseconds+uint64(100*time.Millisecond) {
		return 0
	}
	elapsed := second.Nanoseconds - first.Nanoseconds
	measured := float64(second.Jiffies-first.Jiffies) * float64(time.Second) / float64(elapsed)
	best := uint32(0)
	for _, hz := range []uint32{100, 250, 300, 1000} {
		if best == 0 || distance(measured, hz) < distance(measured, best) {
			best = hz
		}
	}
	return best
}

func distance(measured float64, hz uint32) float64 {
	return math.Abs(measured - float64(hz))
}
