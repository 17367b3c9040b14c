package plan

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// commit plans and does all of it.
func commit(t *testing.T, desired Desired, state *State) {
	t.Helper()
	at := time.Unix(100, 0)
	p := Make(desired, state, Scan{}, Limits{VIPs: 8, Services: 8, Backends: 32, Slots: 256}, at)
	if len(p.Refused) > 0 {
		t.Fatalf("refused: %+v", p.Refused)
	}
	for _, s := range p.Steps {
		state.Commit(s, at)
	}
}

func TestGoneAreBackendsThatNobodyLists(t *testing.T) {
	one := v1.Backend{Address: netip.MustParseAddr("10.0.0.1"), Port: 80}
	two := v1.Backend{Address: netip.MustParseAddr("10.0.0.2"), Port: 80}
	service := func(port uint16, backends ...v1.Backend) v1.Service {
		f := v1.Frontend{VIP: netip.MustParseAddr("192.0.2.1"), Port: port, Protocol: v1.UDP}
		return v1.Service{Frontend: f, Mode: v1.ModeFullNAT, Monitor: true, Backends: backends}
	}
	inactive := map[Endpoint]bool{{service(1).Frontend, netip.AddrPortFrom(two.Address, two.Port)}: true}
	tests := []struct {
		name string
		then Desired
		want []string
	}{
		{"all are listed", Desired{Services: []v1.Service{service(1, one, two), service(2, two)}}, nil},
		{"one has left one of two services", Desired{Services: []v1.Service{service(1, one), service(2, two)}}, []string{"1 10.0.0.2:80"}},
		{"a probe fails", Desired{Services: []v1.Service{service(1, one, two), service(2, two)}, Inactive: inactive}, nil},
		{"a probe fails, and then it leaves", Desired{Services: []v1.Service{service(1, one), service(2, two)}, Inactive: inactive}, []string{"1 10.0.0.2:80"}},
		{"no route", Desired{
			Services:    []v1.Service{service(1, one, two), service(2, two)},
			Unreachable: map[netip.Addr]bool{two.Address: true},
		}, nil},
		{"a service has gone", Desired{Services: []v1.Service{service(1, one, two)}}, []string{"2 10.0.0.2:80"}},
		{"everything has gone", Desired{}, []string{"1 10.0.0.1:80", "1 10.0.0.2:80", "2 10.0.0.2:80"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state := NewState()
			commit(t, Desired{Services: []v1.Service{service(1, one, two), service(2, two)}}, state)
			frontends := state.Frontends()
			commit(t, tt.then, state)
			got := map[string]bool{}
			for id := range Gone(tt.then.Services, state) {
				b := state.backends[id]
				got[string('0'+rune(frontends[b.Service].Port))+" "+b.Address.String()] = true
			}
			want := map[string]bool{}
			for _, w := range tt.want {
				want[w] = true
			}
			if !maps.Equal(got, want) {
				t.Errorf("gone are %v, want %v", got, want)
			}
		})
	}
}

// TestOnlyUDPBackendsAreGone: flows of the others are not looked for.
func TestOnlyUDPBackendsAreGone(t *testing.T) {
	backends := []v1.Backend{{Address: netip.MustParseAddr("10.0.0.1"), Port: 80}}
	for protocol, want := range map[v1.Protocol]int{v1.TCP: 0, v1.UDP: 1, v1.SCTP: 0} {
		f := v1.Frontend{VIP: netip.MustParseAddr("192.0.2.1"), Port: 80, Protocol: protocol}
		with := []v1.Service{{Frontend: f, Mode: v1.ModeFullNAT, Backends: backends}}
		for what, then := range map[string][]v1.Service{
			"the backend has gone": {{Frontend: f, Mode: v1.ModeFullNAT}}, "the service has gone": nil,
		} {
			state := NewState()
			commit(t, Desired{Services: with}, state)
			commit(t, Desired{Services: then}, state)
			if !state.Resting() {
				t.Fatalf("%s, %s: nothing rests", protocol, what)
			}
			if got := Gone(then, state); len(got) != want {
				t.Errorf("%s, %s: gone are %v, want %d", protocol, what, got, want)
			}
		}
	}
}

// TestOfADeletedServiceAllBackendsAreGone: after a restart nobody knows of which protocol it was.
func TestOfADeletedServiceAllBackendsAreGone(t *testing.T) {
	left := PutBackend{ID: 7, Backend: Backend{Service: 3, Address: netip.MustParseAddrPort("10.0.0.1:80")}}
	if got := Gone(nil, Restore([]Step{left}, time.Unix(100, 0))); !got[7] || len(got) != 1 {
		t.Errorf("gone are %v, want 7", got)
	}
}

func TestIdleTimeoutsGoByTheIdsOfServices(t *testing.T) {
	f := v1.Frontend{VIP: netip.MustParseAddr("192.0.2.1"), Port: 80, Protocol: v1.TCP}
	other := f
	other.Port = 81
	desired := Desired{Services: []v1.Service{
		{Frontend: f, Mode: v1.ModeFullNAT, IdleTimeout: 90}, {Frontend: other, Mode: v1.ModeFullNAT},
	}}
	state := NewState()
	if got := IdleTimeouts(desired.Services, state); len(got) != 0 {
		t.Errorf("services that are not in the maps: %v", got)
	}
	commit(t, desired, state)
	entry, _ := state.Service(f)
	if got := IdleTimeouts(desired.Services, state); len(got) != 1 || got[entry.ID] != 90*time.Second {
		t.Errorf("got %v, want 90 s for service %d", got, entry.ID)
	}
}
