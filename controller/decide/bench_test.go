package decide

import (
	"fmt"
	"testing"

	"github.com/weir-lb/weir/controller"
)

// BenchmarkDecide decides on 10 000 services of 10 pods each, at the start and
// with what was decided before.
func BenchmarkDecide(b *testing.B) {
	snap := twoByTwo()
	for i := range 10_000 {
		name := fmt.Sprintf("s%d", i)
		snap.Services = append(snap.Services, lb(name, ports(fmt.Sprintf("%d:30080/TCP", 80+i%100))))
		var endpoints []string
		for j := range 10 {
			endpoints = append(endpoints, fmt.Sprintf("10.%d.%d.%d@worker%d", 100+i>>8, i&255, j, 1+j%2))
		}
		snap.Slices = append(snap.Slices, slice(name, "=8080", endpoints...))
	}
	cfg := articleConfig(b)
	cfg.Pools = mustPools(b, "10.0.0.0/16")
	first := Decide(snap, cfg, controller.Memory{})
	for name, last := range map[string]controller.Memory{"start": {}, "again": first.Memory} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Decide(snap, cfg, last)
			}
		})
	}
}
