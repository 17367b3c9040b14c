package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

const vip = "192.0.2.1"

func withBGP(s v1.NodeState) v1.NodeState {
	s.BGP = &v1.BGP{ASN: 64512, RouterID: service(vip, 1).VIP}
	return s
}

func TestFailedAppliesAreRetriedUntilTheyHold(t *testing.T) {
	r := &recorder{failures: 5, bgpFailures: 3}
	n := start(t, Options{Dataplane: r, Speaker: speaker{r}})
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	if applies, asked := r.count(); applies != 9 || asked != 4 {
		t.Errorf("dataplane was asked %d times, want 5 failures and 4 successes; BGP %d, want 3 failures and a success", applies, asked)
	}
	if got := r.ports(); !slices.Equal(got, []uint16{1}) {
		t.Errorf("announced %v, want [1]", got)
	}
}

// Peers keep the routes of the run before this one, and drop those that the
// first session does not bring (RFC 4724, 4.2).
func TestBGPDoesNotBeginWithLessThanIsServed(t *testing.T) {
	t.Run("while nothing could be programmed", func(t *testing.T) {
		r := &recorder{failures: 1}
		n := start(t, Options{Dataplane: r, Speaker: speaker{r}, RetryMin: time.Hour, RetryMax: time.Hour})
		mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
		waittest.Until(t, "error shown", func() bool { return n.Observed(context.Background()).Owners[0].Error != "" })
		if _, asked := r.count(); asked != 0 {
			t.Errorf("BGP began, and announces %v", r.ports())
		}
	})
	t.Run("when the node ends before anything is", func(t *testing.T) {
		r := &recorder{block: make(chan struct{}), entered: make(chan struct{}, 1)}
		n := New(Options{Dataplane: r, Speaker: speaker{r}, Log: slog.New(slog.DiscardHandler)})
		mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		<-r.entered
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, asked := r.count(); asked != 0 {
			t.Errorf("BGP began, and announces %v", r.ports())
		}
	})
}

func TestAFailureIsShownWhileItLasts(t *testing.T) {
	r := &recorder{failures: 1}
	n := start(t, Options{Dataplane: r, RetryMin: time.Hour, RetryMax: time.Hour})
	mustPut(t, n, "controller", state(7, service(vip, 1)))
	var o v1.ObservedState
	waittest.Until(t, "error shown", func() bool {
		o = n.Observed(context.Background())
		return o.Owners[0].Error != ""
	})
	want := v1.OwnerStatus{Owner: "controller", Desired: v1.Generation{Sequence: 7}, Error: "apply services: maps are full"}
	if o.Owners[0] != want {
		t.Errorf("got %+v, want %+v", o.Owners[0], want)
	}
	if c := o.Services[0].Conditions[0]; c.Reason != ReasonApplyFailed || o.Services[0].Programmed {
		t.Errorf("service says %+v", o.Services[0])
	}
	// The pause of an hour must not hold up a change.
	mustPut(t, n, "controller", state(8, service(vip, 1)))
	waittest.Until(t, "change applied", func() bool { return applied(n) })
}

func TestChangesDuringAnApplyAreOneMore(t *testing.T) {
	r := &recorder{block: make(chan struct{})}
	n := start(t, Options{Dataplane: r})
	mustPut(t, n, "controller", state(1, service(vip, 1)))
	r.block <- struct{}{} // the first apply is under way or about to be
	for i := range uint64(50) {
		mustPut(t, n, "controller", state(i+2, service(vip, uint16(i+2))))
	}
	close(r.block)
	waittest.Until(t, "last change applied", func() bool { return applied(n) })
	services, err := n.Services(context.Background())
	if err != nil || len(services) != 1 || services[0].Port != 51 {
		t.Errorf("got %v, %v, want the service of the last change", services, err)
	}
	if applies, _ := r.count(); applies > 3 {
		t.Errorf("51 changes took %d applies, want 2 or 3", applies)
	}
}

func TestNothingHappensWithoutAChange(t *testing.T) {
	r := &recorder{}
	n := start(t, Options{Dataplane: r, Speaker: speaker{r}})
	mustPut(t, n, "controller", state(1, service(vip, 1)))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	before, _ := r.count()
	quiet := time.NewTimer(50 * time.Millisecond) // many times RetryMax
	<-quiet.C
	mustPut(t, n, "controller", state(1, service(vip, 1)))
	if after, _ := r.count(); after != before {
		t.Errorf("%d applies without a change", after-before)
	}
}

func TestAServiceIsAnnouncedOnceProgrammed(t *testing.T) {
	r := &recorder{refuse: map[uint16]bool{2: true}}
	n := start(t, Options{Dataplane: r, Speaker: speaker{r}})
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1), service(vip, 2))))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	if got := r.ports(); !slices.Equal(got, []uint16{1}) {
		t.Fatalf("announced %v, want [1]: port 2 is not programmed", got)
	}
	services, err := n.Services(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s := services[1]; s.Programmed || s.Owner != "controller" || s.Conditions[0].Reason != "NoSlots" {
		t.Errorf("port 2 says %+v", s)
	}
	r.mu.Lock()
	r.refuse = nil
	r.mu.Unlock()
	waittest.Until(t, "refused service retried", func() bool { return slices.Equal(r.ports(), []uint16{1, 2}) })
}

func TestAnnounceable(t *testing.T) {
	f := func(port uint16) v1.Frontend { return service(vip, port).Frontend }
	ok := func(port uint16) v1.ServiceStatus {
		return v1.ServiceStatus{Service: service(vip, port), Programmed: true}
	}
	type outcomes = map[v1.Frontend]v1.ServiceStatus
	type before = map[v1.Frontend]struct{}
	rows := []struct {
		name    string
		desired []v1.Service
		outcome outcomes
		before  before
		want    []uint16
	}{
		{"programmed", []v1.Service{service(vip, 1)}, outcomes{f(1): ok(1)}, nil, []uint16{1}},
		{"not programmed, new", []v1.Service{service(vip, 1)}, outcomes{f(1): {}}, nil, nil},
		{"not programmed, but announced before", []v1.Service{service(vip, 1)}, outcomes{f(1): {}}, before{f(1): {}}, []uint16{1}},
		{"dataplane failed, new", []v1.Service{service(vip, 1)}, nil, nil, nil},
		{"dataplane failed, announced before", []v1.Service{service(vip, 1), service(vip, 2)}, nil, before{f(2): {}}, []uint16{2}},
		{"no longer desired", nil, outcomes{f(1): ok(1)}, before{f(1): {}}, nil},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var got []uint16
			for _, s := range announceable(r.desired, r.outcome, r.before) {
				got = append(got, s.Port)
			}
			if !slices.Equal(got, r.want) {
				t.Errorf("got %v, want %v", got, r.want)
			}
		})
	}
}

func TestAPeerForwardsNothingAndSaysSo(t *testing.T) {
	r := &recorder{}
	n := start(t, Options{Speaker: speaker{r}})
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	o := n.Observed(context.Background())
	if o.Mode != v1.NodePeer || o.BGP == nil || o.BGP.ASN != 64512 || len(r.ports()) != 0 {
		t.Errorf("peer says %+v, announces %v", o, r.ports())
	}
	if s := o.Services[0]; s.Programmed || s.Conditions[0].Reason != ReasonPeerNode || s.Owner != "controller" {
		t.Errorf("service says %+v", s)
	}
}

func TestBGPWithoutASpeakerIsACondition(t *testing.T) {
	n := start(t, Options{Dataplane: &recorder{}})
	mustPut(t, n, "controller", withBGP(state(1, service(vip, 1))))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	o := n.Observed(context.Background())
	if len(o.Conditions) != 1 || o.Conditions[0].Reason != ReasonBGPDisabled || o.BGP != nil {
		t.Errorf("got %+v", o.Conditions)
	}
}

func TestRunEndsWhenAPartFails(t *testing.T) {
	broken := errors.New("netlink is gone")
	n := New(Options{Dataplane: &recorder{stopped: broken}, Speaker: speaker{&recorder{}}, Log: slog.New(slog.DiscardHandler)})
	err := n.Run(context.Background())
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "run dataplane: ") {
		t.Errorf("got %v, want that of the dataplane", err)
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	b := backoff{min: 100 * time.Millisecond, max: time.Second}
	for _, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		most *= time.Millisecond
		if got := b.next(); got < most/2 || got > most {
			t.Errorf("pause of %s, want %s to %s", got, most/2, most)
		}
	}
	b.reset()
	if got := b.next(); got > b.min {
		t.Errorf("pause of %s after a reset, want at most %s", got, b.min)
	}
}
