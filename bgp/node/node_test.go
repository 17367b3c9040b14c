package node

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/decide"
	"github.com/weir-lb/weir/bgp/fake"
	"github.com/weir-lb/weir/bgp/fib"
)

var (
	lan  = netip.MustParsePrefix("198.51.100.0/24")
	lb1  = netip.MustParseAddr("198.51.100.10")
	lb2  = netip.MustParseAddr("198.51.100.11")
	self = netip.MustParseAddr("198.51.100.101")
	vip  = netip.MustParsePrefix("203.0.113.1/32")
	old  = netip.MustParsePrefix("203.0.113.9/32")
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateComparable(netip.Addr{}),
	cmpopts.EquateEmpty(),
}

// bench is a worker node over fakes, in a bubble of fake time. An earlier run
// left a route to old.
type bench struct {
	*Node
	t       *testing.T
	speaker *fake.Speaker
	kernel  *fake.Kernel
}

// inBubble runs f with a node that runs.
func inBubble(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, speaker: fake.NewSpeaker(), kernel: fake.NewKernel(fib.Observed{
			Connected: []netip.Prefix{lan},
			Local:     []netip.Addr{self},
			Own:       []fib.Route{{Prefix: old, NextHops: []netip.Addr{lb1}}},
		})}
		b.Node = New(Options{Kind: decide.Peer, Speaker: b.speaker, Kernel: b.kernel})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		f(b)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// pass lets d go by, and then whatever is runnable run.
func (b *bench) pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func worker() *v1.BGP {
	return &v1.BGP{
		ASN: 64512, RouterID: self, VIPs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		Peers: []v1.Peer{{Address: lb1, ASN: 64512, Role: v1.PeerLB}, {Address: lb2, ASN: 64512, Role: v1.PeerLB}},
	}
}

func (b *bench) apply(cfg *v1.BGP) {
	b.t.Helper()
	if err := b.Apply(b.t.Context(), cfg, nil, nil); err != nil {
		b.t.Fatalf("apply: %v", err)
	}
}

// up says that the sessions with these peers have told all they have.
func up(peers ...netip.Addr) []bgp.Session {
	var out []bgp.Session
	for _, p := range peers {
		out = append(out, bgp.Session{Address: p, State: bgp.Established, EndOfRIB: true})
	}
	return out
}

// own expects our routes in the kernel, by prefix.
func (b *bench) own(what string, want ...netip.Prefix) {
	b.t.Helper()
	var got []netip.Prefix
	for _, r := range b.kernel.Own() {
		got = append(got, r.Prefix)
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: kernel has %v, want %v", what, got, want)
	}
}

func TestStaleRoutesWaitForAllSessions(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.apply(worker())
		route := bgp.Route{Prefix: vip, NextHops: []netip.Addr{lb2}}
		b.speaker.SetState(bgp.State{Sessions: up(lb2), Routes: []bgp.Route{route}})
		b.pass(10 * time.Second)
		b.own("one of two peers told", vip, old)
		b.speaker.SetState(bgp.State{Sessions: up(lb1, lb2), Routes: []bgp.Route{route}})
		b.pass(time.Second)
		b.own("both told", vip)
	})
}

func TestStaleRoutesWaitNoLongerThanTheRestartTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(20 * time.Second)
		b.apply(worker())
		b.pass(bgp.RestartTime - time.Second)
		b.own("configured 29 s ago", old)
		b.pass(2 * time.Second)
		b.own("configured 31 s ago")
	})
}

func TestStaleRoutesGoWithoutConfiguration(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(bgp.RestartTime - time.Second)
		b.own("started 29 s ago", old)
		b.pass(2 * time.Second)
		b.own("started 31 s ago")
	})
}

func TestNilConfigurationStops(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.apply(worker())
		b.speaker.SetState(bgp.State{Sessions: up(lb1, lb2), Routes: []bgp.Route{{Prefix: vip, NextHops: []netip.Addr{lb1}}}})
		b.pass(time.Second)
		b.own("learned", vip)
		b.apply(nil)
		b.pass(time.Second)
		b.own("stopped")
		if _, running := b.speaker.Told(); running {
			t.Error("the speaker runs on")
		}
		if st, err := b.Status(t.Context()); st != nil || err != nil {
			t.Errorf("status is %+v, %v, want nil", st, err)
		}
	})
}

func TestCloseKeepsRoutes(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.apply(worker())
		b.speaker.SetState(bgp.State{Sessions: up(lb1, lb2), Routes: []bgp.Route{{Prefix: vip, NextHops: []netip.Addr{lb1}}}})
		b.pass(time.Second)
		if err := b.Close(); err != nil || !b.speaker.Closed() {
			t.Errorf("close: %v, speaker closed: %v", err, b.speaker.Closed())
		}
		b.own("closed", vip)
	})
}

func TestSpeakerThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		taken := errors.New("listen for BGP on 0.0.0.0:179: address already in use")
		b.speaker.FailStart(taken)
		if err := b.Apply(t.Context(), worker(), nil, nil); !errors.Is(err, taken) {
			t.Errorf("apply: %v, want %v", err, taken)
		}
		b.pass(10 * time.Second)
		// At once, then after 1, 2, 4 s: at 0, 1, 3, 7 s, give or take the
		// time that a turn takes.
		if n := b.speaker.Starts(); n != 4 {
			t.Errorf("%d attempts in 10 s, want 4", n)
		}
		st, err := b.Status(t.Context())
		if err != nil || len(st.Conditions) != 1 || st.Conditions[0].Message != taken.Error() {
			t.Errorf("status %+v, %v does not say why", st, err)
		}
		b.speaker.FailStart(nil)
		b.pass(30 * time.Second)
		if c, running := b.speaker.Told(); !running || len(c.Peers) != 2 {
			t.Errorf("speaker runs: %v, with %+v", running, c)
		}
		if st, err = b.Status(t.Context()); err != nil || len(st.Conditions) != 0 {
			t.Errorf("status %+v, %v still complains", st, err)
		}
	})
}

func TestRouteThatVanishedComesBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.apply(worker())
		b.speaker.SetState(bgp.State{Sessions: up(lb1, lb2), Routes: []bgp.Route{{Prefix: vip, NextHops: []netip.Addr{lb1}}}})
		b.pass(time.Second)
		b.kernel.Edit(func(o *fib.Observed) { o.Own, o.Connected = nil, nil })
		b.pass(time.Second)
		b.own("link down")
		st, err := b.Status(t.Context())
		if err != nil || len(st.Conditions) != 1 || st.Conditions[0].Reason != string(fib.NextHopUnreachable) {
			t.Errorf("status %+v, %v, want the next hop unreachable", st, err)
		}
		b.kernel.Edit(func(o *fib.Observed) { o.Connected = []netip.Prefix{lan} })
		b.pass(time.Second)
		b.own("link up", vip)
	})
}

func TestRefusedRouteIsTriedWithBackOff(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.apply(worker())
		b.kernel.FailSteps(errors.New("no buffer space available"))
		b.speaker.SetState(bgp.State{Sessions: up(lb1), Routes: []bgp.Route{{Prefix: vip, NextHops: []netip.Addr{lb1}}}})
		b.pass(10 * time.Second)
		if n := len(b.kernel.Steps()); n != 4 {
			t.Errorf("%d attempts in 10 s, want 4", n)
		}
		st, err := b.Status(t.Context())
		if err != nil || len(st.Conditions) != 1 || st.Conditions[0].Reason != string(fib.KernelRefused) {
			t.Errorf("status %+v, %v, want the kernel's refusal", st, err)
		}
		b.kernel.FailSteps(nil)
		b.kernel.Edit(func(*fib.Observed) {}) // any change of the kernel
		b.pass(time.Second)
		b.own("the kernel changed", vip, old)
	})
}

func TestStatus(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.apply(worker())
		sessions := up(lb1)
		sessions[0].Since, sessions[0].Received, sessions[0].Accepted = time.Now().Add(-time.Minute), 3, 2
		b.speaker.SetState(bgp.State{Sessions: sessions, Routes: []bgp.Route{{Prefix: vip, NextHops: []netip.Addr{lb1, lb2}}}})
		b.kernel.Edit(func(o *fib.Observed) { o.Own = nil })
		b.pass(time.Second)
		got, err := b.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := &v1.BGPStatus{
			ASN: 64512, RouterID: self, ListenPort: 179,
			Peers: []v1.PeerStatus{
				{Peer: worker().Peers[0], State: "established", Uptime: time.Minute + time.Second, Received: 3, Accepted: 2},
				{Peer: worker().Peers[1], State: "idle"},
			},
			Routes: []v1.Route{{Prefix: vip, NextHops: []netip.Addr{lb1}}},
		}
		if d := cmp.Diff(want, got, compare); d != "" {
			t.Errorf("status (-want +got):\n%s", d)
		}
	})
}

// All goroutines are those of Run, and end with it.
func TestNothingLeaks(t *testing.T) {
	defer goleak.VerifyNone(t)
	kernel, err := fib.OpenNetlink()
	must(t, err)
	defer kernel.Close()
	n := New(Options{Kind: decide.Peer, Speaker: fake.NewSpeaker(), Kernel: refusing{kernel}})
	goleak.VerifyNone(t) // none from constructors
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	must(t, n.Apply(ctx, worker(), nil, nil))
	cancel()
	must(t, <-ended)
	must(t, n.Close())
}

// refusing reads and watches the kernel of this machine but changes nothing.
type refusing struct{ *fib.Netlink }

func (refusing) Do(fib.Step) error { return errors.New("not in a test") }
