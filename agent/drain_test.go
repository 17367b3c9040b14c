package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

// A drain withdraws, keeps BGP and the services as they are while the peers go
// elsewhere, and ends Run; a state that comes meanwhile announces nothing.
func TestDrainWithdrawsThenEndsTheNode(t *testing.T) {
	r := &recorder{}
	n := New(Options{Dataplane: r, Speaker: speaker{r}, Log: slog.New(slog.DiscardHandler)})
	ended := make(chan error, 1)
	go func() { ended <- n.Run(t.Context()) }()
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
	waittest.Until(t, "service announced", func() bool { return slices.Equal(r.ports(), []uint16{1}) })

	began := time.Now()
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(context.Background()) }()
	waittest.Until(t, "service withdrawn", func() bool { return len(r.ports()) == 0 })
	if n.Drained() {
		t.Error("drained before the peers had time")
	}
	mustPut(t, n, "controller", withBGP(state(2, service(vip, 1), service(vip, 2))))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	if got := r.ports(); len(got) > 0 {
		t.Errorf("ports %v are announced while the node is drained", got)
	}
	if status, err := n.BGP(t.Context()); status == nil || err != nil {
		t.Errorf("sessions went with the withdrawal: %v", err)
	}
	for name, done := range map[string]chan error{"Drain": drained, "Run": ended} {
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s does not end", name)
		}
	}
	if took := time.Since(began); took < drainAtLeast || !n.Drained() {
		t.Errorf("drained %t after %s, want %s at least", n.Drained(), took, drainAtLeast)
	}
}

// A signal drains a node that an owner says is drained, also where nobody but the
// state file says so after a restart, and no other one.
func TestASignalStopsADrainedNode(t *testing.T) {
	plain := withBGP(state(1, service(vip, 1)))
	drained := plain
	drained.Drained = true
	again := drained
	again.Generation.Sequence = 2
	over := plain
	over.Generation.Sequence = 2
	for _, row := range []struct {
		says    string
		puts    []v1.NodeState
		restart bool // before the signal
		failing bool // the withdrawal
		stops   bool
	}{
		{says: "it is not", puts: []v1.NodeState{plain}},
		{says: "nobody has said anything"},
		{says: "it is", puts: []v1.NodeState{plain, again}, stops: true},
		{says: "it was", puts: []v1.NodeState{drained, over}},
		{says: "it is, by the state file", puts: []v1.NodeState{drained}, restart: true, stops: true},
		{says: "it was, by the state file", puts: []v1.NodeState{drained, over}, restart: true},
		{says: "its addresses cannot be withdrawn", puts: []v1.NodeState{drained}, failing: true},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{}
				var log bytes.Buffer
				o := Options{Dataplane: r, Speaker: speaker{r}, Log: slog.New(slog.NewTextHandler(&log, nil))}
				dir := filepath.Join(t.TempDir(), "state")
				begin := func() (*Node, func() error) {
					o.StateFile = openFile(t, dir)
					n := New(o)
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					go func() { ended <- n.Run(ctx) }()
					synctest.Wait()
					return n, func() error {
						cancel()
						return errors.Join(<-ended, o.StateFile.Close())
					}
				}
				n, end := begin()
				for _, s := range row.puts {
					mustPut(t, n, "controller", s)
				}
				if row.restart {
					if err := end(); err != nil {
						t.Fatal(err)
					}
					n, end = begin()
				}
				synctest.Wait()
				before := r.ports()
				r.mu.Lock()
				if row.failing {
					r.bgpFailures = 1
				}
				r.mu.Unlock()
				if got := n.StopIfDrained(t.Context()); got != row.stops || n.Drained() != row.stops {
					t.Errorf("it is a stop: %t, drained %t, want %t", got, n.Drained(), row.stops)
				}
				if got := r.ports(); row.stops && len(got) > 0 || !row.stops && !slices.Equal(got, before) {
					t.Errorf("announced %v, before the signal %v", got, before)
				}
				if err := end(); err != nil {
					t.Error(err)
				}
				said := strings.Count(log.String(), "this node is drained")
				if want := row.stops || row.failing; (said == 1) != want || row.failing != strings.Contains(log.String(), "drain failed") {
					t.Errorf("it said:\n%s", log.String())
				}
			})
		})
	}
}

// What cannot be withdrawn is told, and the node works on.
func TestAFailedWithdrawalEndsNothing(t *testing.T) {
	r := &recorder{}
	n := start(t, Options{Dataplane: r, Speaker: speaker{r}})
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
	waittest.Until(t, "service announced", func() bool { return slices.Equal(r.ports(), []uint16{1}) })
	r.mu.Lock()
	r.bgpFailures = 1
	r.mu.Unlock()
	if err := n.Drain(t.Context()); err == nil || n.Drained() {
		t.Errorf("got %v, drained %t", err, n.Drained())
	}
	mustPut(t, n, "controller", withBGP(state(2, service(vip, 2))))
	waittest.Until(t, "the next state announced", func() bool { return slices.Equal(r.ports(), []uint16{2}) })
}
