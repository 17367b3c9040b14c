package report

import (
	"fmt"
	"math"

	"github.com/weir-lb/weir/bench/result"
)

// bounds are far above what an undisturbed machine shows: who exceeds them has a
// path that is not the fast one, not a slow neighbour.
var bounds = []target{
	{"XDP, TCP, 1 flow, over its floor", ratio("testrun", "xdp tcp 64", "1"), result.Multiple, 8, none},
	{"TC, TCP, 1 flow, over its floor", ratio("testrun", "tc tcp 64", "1"), result.Multiple, 6, none},
	{"packets and requests that weir lost", lost, result.Difference, 0, none},
}

// Smoke says what is wrong with a run whatever the machine, nothing if all is well.
func Smoke(r *result.Run) error {
	for _, t := range bounds {
		if x := t.measure(r); !math.IsNaN(x) && !t.meets(x, t.first) {
			return fmt.Errorf("%s: %s, want %s", t.what, compared(t.compare, x), t.bound(t.first))
		}
	}
	return nil
}
