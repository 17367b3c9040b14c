package agent

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

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
