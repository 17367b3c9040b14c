package plan

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/weir-lb/weir/api/v1"
)

// A VIP that rests for its flows holds up no service.
func TestRestingVIPsGiveWay(t *testing.T) {
	limits := roomy
	limits.VIPs = 2
	other := v1.Frontend{VIP: netip.MustParseAddr("192.0.2.3"), Port: 80, Protocol: v1.TCP}
	state, maps := NewState(), newKernel(limits)
	settle(t, maps, state, Desired{Services: []v1.Service{service(web), service(dns)}}, Scan{}, epoch)
	settle(t, maps, state, Desired{}, Scan{}, epoch)
	scan := Scan{Started: epoch.Add(2 * Grace), VIPs: map[netip.Addr]bool{web.VIP: true}}
	p := settle(t, maps, state, Desired{Services: []v1.Service{service(other)}}, scan, epoch.Add(2*Grace))
	want := []string{
		"service 192.0.2.3:80/tcp = 3, slots empty", "delete vip 192.0.2.2", "vip 192.0.2.3 active=true ports 1024-65535",
		"release 192.0.2.1:80/tcp", "release 192.0.2.2:53/tcp",
	}
	if diff := cmp.Diff(want, briefs(p.Steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	desired := Desired{Services: []v1.Service{service(other), service(dns)}}
	p = settle(t, maps, state, desired, scan, epoch.Add(3*Grace))
	want = []string{
		"service 192.0.2.2:53/tcp = 4, slots empty", "delete vip 192.0.2.1", "vip 192.0.2.2 active=true ports 1024-65535",
	}
	if diff := cmp.Diff(want, briefs(p.Steps)); diff != "" {
		t.Errorf("where all have flows, steps (-want +got):\n%s", diff)
	}
	if again := Make(desired, state, scan, limits, epoch.Add(3*Grace)); len(again.Steps) > 0 {
		t.Errorf("then %v", briefs(again.Steps))
	}
}

// One on which a service stands does not, though the service as it is desired is refused.
func TestAVIPOfARefusedServiceStays(t *testing.T) {
	limits := roomy
	limits.VIPs = 2
	state, maps := NewState(), newKernel(limits)
	settle(t, maps, state, Desired{Services: []v1.Service{service(web), service(dns)}}, Scan{}, epoch)
	settle(t, maps, state, Desired{}, Scan{}, epoch)
	for _, step := range Make(Desired{Services: []v1.Service{service(web)}}, state, Scan{}, limits, epoch).Steps {
		if _, fails := step.(PutVIP); !fails {
			state.Commit(step, epoch)
		}
	}
	refused := service(web)
	refused.Mode = "none"
	other := v1.Frontend{VIP: netip.MustParseAddr("192.0.2.3"), Port: 80, Protocol: v1.TCP}
	p := Make(Desired{Services: []v1.Service{refused, service(other)}}, state, Scan{}, limits, epoch)
	want := []string{
		"service 192.0.2.3:80/tcp = 3, slots empty", "vip 192.0.2.1 active=true ports 1024-65535",
		"delete vip 192.0.2.2", "vip 192.0.2.3 active=true ports 1024-65535",
	}
	if diff := cmp.Diff(want, briefs(p.Steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
