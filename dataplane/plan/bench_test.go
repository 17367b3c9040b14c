package plan

import (
	"net/netip"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

// BenchmarkOneEndpoint plans the change of one endpoint among 10 000 services
// with 10 backends each.
func BenchmarkOneEndpoint(b *testing.B) {
	limits := Limits{VIPs: 4096, Services: 16384, Backends: 131072, Slots: 1 << 20}
	var all []v1.Service
	for i := range 10_000 {
		s := service(frontend(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 50)}).String(), uint16(1+i)))
		for n := range 10 {
			s.Backends = append(s.Backends, v1.Backend{Address: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(1 + n)}), Port: 80})
		}
		all = append(all, s)
	}
	state := NewState()
	for _, step := range Make(Desired{Services: all}, state, Scan{}, limits, epoch).Steps {
		state.Commit(step, epoch)
	}
	all[5000].Backends = all[5000].Backends[1:]
	for b.Loop() {
		// Its slots, the service, and that nobody keeps it.
		if p := Make(Desired{Services: all}, state, Scan{}, limits, epoch); len(p.Steps) != 3 {
			b.Fatalf("%d steps", len(p.Steps))
		}
	}
}
