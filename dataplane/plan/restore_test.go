package plan

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/weir-lb/weir/api/v1"
)

// A service that an earlier run deleted is known by its backends alone: its id
// goes to nobody until no flow names them.
func TestRestoreKeepsTheIDsOfDeletedServices(t *testing.T) {
	began := time.Unix(1000, 0)
	frontend := v1.Frontend{VIP: netip.MustParseAddr("203.0.113.1"), Port: 80, Protocol: v1.TCP}
	backend := netip.MustParseAddrPort("192.0.2.1:8080")
	s := Restore([]Step{
		PutBackend{ID: 1, Backend: Backend{Service: 1, Address: backend}},
		PutBackend{ID: 2, Backend: Backend{Service: 2, Address: backend}},
		PutService{Frontend: frontend, Service: Service{ID: 2, Slots: Region{Offset: 0, Count: 1}}, IDs: []uint32{2}},
	}, began)
	other := frontend
	other.Port = 81
	desired := Desired{Services: []v1.Service{
		{Frontend: frontend, Mode: v1.ModeFullNAT, Backends: []v1.Backend{{Address: backend.Addr(), Port: backend.Port()}}},
		{Frontend: other, Mode: v1.ModeFullNAT},
	}}
	limits := Limits{VIPs: 8, Services: 4, Backends: 8, Slots: 8}
	id := func(scan Scan, now time.Time) uint32 {
		p := Make(desired, s, scan, limits, now)
		for _, step := range p.Steps {
			if put, ok := step.(PutService); ok && put.Frontend == other {
				return put.Service.ID
			}
		}
		return 0
	}
	if got := id(Scan{}, began); got != 3 {
		t.Errorf("id %d is given to a new service, want 3: flows may name 1", got)
	}
	limits.Services = 3
	if got := id(Scan{}, began); got != 0 {
		t.Errorf("id %d is given to a new service, want none", got)
	}
	later := began.Add(2 * Grace)
	scan := Scan{Started: later}
	for _, step := range Make(desired, s, scan, limits, later).Steps {
		if gone, ok := step.(DeleteBackend); ok {
			s.Commit(gone, later)
		}
	}
	if got := id(scan, later); got != 1 {
		t.Errorf("id %d is given after the last flow, want 1", got)
	}
}

// A VIP that an earlier run retired stays while flows call it, others do not.
func TestRestoreKeepsTheVIPsOfFlows(t *testing.T) {
	began := time.Unix(1000, 0)
	called, left := netip.MustParseAddr("203.0.113.8"), netip.MustParseAddr("203.0.113.9")
	s := Restore([]Step{
		PutBackend{ID: 1, Backend: Backend{Service: 1, Address: netip.MustParseAddrPort("192.0.2.1:8080")}},
		PutVIP{Address: called, VIP: VIP{Retired: true}}, PutVIP{Address: left, VIP: VIP{Retired: true}},
	}, began)
	scan := Scan{Services: map[uint32]bool{1: true}, Backends: map[uint32]bool{1: true}, VIPs: map[netip.Addr]bool{called: true}}
	for _, row := range []struct {
		scanned time.Duration
		want    []string
	}{
		{Grace, nil},
		{2 * Grace, []string{"delete vip 203.0.113.9"}},
	} {
		scan.Started = began.Add(row.scanned)
		p := Make(Desired{}, s, scan, roomy, scan.Started)
		var got []string
		for _, step := range p.Steps {
			if _, ok := step.(DeleteVIP); ok {
				got = append(got, brief(step))
			}
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("a scan after %s (-want +got):\n%s", row.scanned, diff)
		}
	}
}
