package agent

import (
	"slices"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestWithoutDead(t *testing.T) {
	const other = "192.0.2.2"
	// A service is written as its port, with w where it allows withdrawal, and
	// the states of its backends.
	type row struct {
		vip      string
		port     uint16
		withdraw bool
		states   []string
	}
	const up, down, away = v1.BackendActive, v1.BackendInactive, v1.BackendUnreachable
	for _, tt := range []struct {
		name string
		rows []row
		want []uint16
	}{
		{"alive", []row{{vip, 1, true, []string{up}}}, []uint16{1}},
		{"one of two alive", []row{{vip, 1, true, []string{down, up}}}, []uint16{1}},
		{"all down", []row{{vip, 1, true, []string{down, down}}}, nil},
		{"all out of reach", []row{{vip, 1, true, []string{away, down}}}, nil},
		{"no backend at all", []row{{vip, 1, true, nil}}, nil},
		{"all down, without the option", []row{{vip, 1, false, []string{down}}}, []uint16{1}},
		{"another service of the address lives", []row{{vip, 1, true, []string{down}}, {vip, 2, true, []string{up}}}, []uint16{1, 2}},
		{"none of the address lives", []row{{vip, 1, true, []string{down}}, {vip, 2, true, []string{down}}}, nil},
		{"one of the address does not allow it", []row{{vip, 1, true, []string{down}}, {vip, 2, false, []string{down}}}, []uint16{1, 2}},
		{"other addresses stay", []row{{vip, 1, true, []string{down}}, {other, 2, true, []string{up}}}, []uint16{2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var services []v1.Service
			outcome := map[v1.Frontend]v1.ServiceStatus{}
			for _, r := range tt.rows {
				s := service(r.vip, r.port)
				s.Withdraw = r.withdraw
				status := v1.ServiceStatus{Service: s}
				for _, state := range r.states {
					status.BackendStates = append(status.BackendStates, v1.BackendStatus{State: state})
				}
				services, outcome[s.Frontend] = append(services, s), status
			}
			if got := portsOf(withoutDead(services, outcome)); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := portsOf(withoutDead(services, nil)); len(got) != len(services) {
				t.Errorf("without news of the backends: got %v", got)
			}
		})
	}
}

// Who looks at the services is told which are withheld, and of the others nothing.
func TestWithheldServicesSaySo(t *testing.T) {
	on := func(address string, port uint16, withdraw, programmed bool, state string) v1.ServiceStatus {
		s := service(address, port)
		s.Withdraw = withdraw
		return v1.ServiceStatus{Service: s, Programmed: programmed, BackendStates: []v1.BackendStatus{{State: state}}}
	}
	all := []v1.ServiceStatus{
		on(vip, 1, true, true, v1.BackendInactive), on(vip, 2, true, true, v1.BackendInactive),
		on(vip, 3, false, false, v1.BackendActive), // not in force: it holds no address
		on("192.0.2.2", 4, true, true, v1.BackendActive),
		on("192.0.2.3", 5, false, true, v1.BackendInactive),
	}
	noteWithheld(all)
	for _, s := range all {
		want := s.Port <= 2
		if got := len(s.Conditions) == 1; got != want {
			t.Errorf("port %d: withheld %v, want %v: %+v", s.Port, got, want, s.Conditions)
		}
		for _, c := range s.Conditions {
			if c.Type != v1.ConditionAnnounced || c.Status || c.Reason != ReasonNoLiveBackend {
				t.Errorf("port %d: %+v", s.Port, c)
			}
		}
	}
}

func portsOf(services []v1.Service) (ports []uint16) {
	for _, s := range services {
		ports = append(ports, s.Port)
	}
	return ports
}

// An address is withdrawn when its last backend dies, and announced again when
// it is back; one that does not allow it stays.
func TestBackendsDecideWhatIsAnnounced(t *testing.T) {
	r := &recorder{changed: make(chan struct{}, 1)}
	n := start(t, Options{Dataplane: r, Speaker: speaker{r}})
	may, stays := service(vip, 1), service("192.0.2.2", 2)
	may.Withdraw = true
	mustPut(t, n, "controller", withBGP(state(1, may, stays)))
	for _, dead := range []map[uint16]bool{{}, {1: true, 2: true}, {2: true}} {
		r.mu.Lock()
		r.dead = dead
		r.mu.Unlock()
		r.changed <- struct{}{}
		want := []uint16{1, 2}
		if dead[1] {
			want = want[1:]
		}
		waittest.Until(t, "announcement", func() bool { return slices.Equal(r.ports(), want) })
	}
}

// Without the option the health of backends is nothing to the speaker.
func TestBackendsDoNotMatterWithoutWithdrawal(t *testing.T) {
	r := &recorder{changed: make(chan struct{})}
	n := start(t, Options{Dataplane: r, Speaker: speaker{r}})
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	before, _ := r.count()
	r.changed <- struct{}{}
	r.changed <- struct{}{} // the first was taken, and nothing came of it
	if after, _ := r.count(); after != before {
		t.Errorf("%d applies for nothing", after-before)
	}
}
