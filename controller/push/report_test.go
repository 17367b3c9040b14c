package push

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

var noRoute = v1.Condition{Type: v1.ConditionReachable, Reason: "BackendsUnreachable", Message: "no route"}

// faulty has the node report a fault of the service at port 80.
func faulty(_ context.Context, r *v1.OwnerReport) error {
	r.Faults = []v1.ServiceFault{{Frontend: frontend(80), Condition: noRoute}}
	return nil
}

func frontend(port uint16) v1.Frontend { return target(m1, port).State.Services[0].Frontend }

// only is the report of the one node there is.
func (b *bench) only() controller.NodeReport {
	b.Helper()
	r := b.Reports()
	if len(r) != 1 {
		b.Fatalf("%d reports, want one", len(r))
	}
	return r[0]
}

// news says whether reports may have changed since it was called last.
func (b *bench) news() bool {
	select {
	case <-b.Reported():
		return true
	default:
		return false
	}
}

func TestNodesAreAskedSoonAfterAChangeAndThenNowAndThen(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{report: faulty}
		b.nodes[m1] = n
		began := time.Now()
		b.Set([]Target{target(m1, 80)})
		synctest.Wait()
		if r := b.only(); r.Answered || b.news() {
			t.Errorf("before anybody asked: %+v", r)
		}
		b.pass(time.Second)
		if r := b.only(); !r.Answered || r.Node != "n192.168.80.10" || r.Faults[frontend(80)] != noRoute || len(r.Services) != 1 || !b.news() {
			t.Errorf("a second after the change: %+v", r)
		}
		b.pass(25 * time.Second)
		if b.news() {
			t.Error("the same again is news")
		}
		b.Set([]Target{target(m1, 81)})
		b.pass(1500 * time.Millisecond)
		if r := b.only(); len(r.Faults) != 0 || !b.news() {
			t.Errorf("a fault of a service that is gone stays: %+v", r)
		}
		var got []time.Duration
		for _, at := range n.asked {
			got = append(got, at.Sub(began).Round(time.Second))
		}
		if len(got) != 4 || got[0] != time.Second || got[1] != 11*time.Second || got[2] != 21*time.Second || got[3] != 27*time.Second {
			t.Errorf("asked after %v, want 1, 11, 21 and a second after the change at 26", got)
		}
	})
}

// What a node says of a state that is over meanwhile says nothing of the next.
func TestReportOfAnotherState(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		n.report = func(context.Context, *v1.OwnerReport) error {
			b.Set([]Target{target(m1, 81)})
			n.set(func(n *fakeNode) { n.report, n.down = nil, errors.New("no route to host") })
			return nil
		}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		b.pass(3 * time.Second)
		if r := b.only(); r.Answered || b.news() {
			t.Errorf("a node that has not taken the state answers for it: %+v", r)
		}
		n.set(func(n *fakeNode) { n.down = nil })
		b.pass(10 * time.Second)
		b.news()
		b.Set([]Target{target(m1, 82)})
		b.pass(2 * time.Second)
		if r := b.only(); r.Services[0].Port != 82 || !b.news() {
			t.Errorf("that it has the next one is no news: %+v", r)
		}
	})
}

// A node that gets changes all the time is asked all the same, once a second.
func TestChangesDoNotPutOffTheQuestion(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		for i := range uint16(40) {
			b.Set([]Target{target(m1, 80+i)})
			b.pass(250 * time.Millisecond)
		}
		if asked := len(n.asked); asked < 8 || asked > 10 {
			t.Errorf("asked %d times within 10 s of changes, want once a second", asked)
		}
	})
}

func TestPeersAreNotAsked(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.nodes[m1] = &fakeNode{}
		peer := target(m1, 80)
		peer.Role = v1.NodePeer
		b.Set([]Target{peer})
		b.pass(time.Minute)
		if len(b.nodes[m1].asked) != 0 || len(b.Reports()) != 0 || b.news() {
			t.Errorf("asked %d times, reports %+v", len(b.nodes[m1].asked), b.Reports())
		}
	})
}

// A node that is at it still is asked again at once, and nothing is made of
// what it says meanwhile.
func TestANodeThatAppliesIsWaitedFor(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{report: func(ctx context.Context, r *v1.OwnerReport) error {
			r.Applied = v1.Generation{}
			return faulty(ctx, r)
		}}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		b.pass(2500 * time.Millisecond)
		if r := b.only(); r.Answered || len(n.asked) != 2 {
			t.Errorf("asked %d times, report %+v", len(n.asked), r)
		}
		n.set(func(n *fakeNode) { n.report = nil })
		b.pass(time.Second)
		if r := b.only(); !r.Answered || len(r.Faults) != 0 {
			t.Errorf("when it has applied: %+v", r)
		}
	})
}

// Whatever is wrong with a report, the node gets its changes soon and is in
// sync; what it said last holds for half a minute.
func TestReportsThatFail(t *testing.T) {
	for name, row := range map[string]struct {
		report func(context.Context, *v1.OwnerReport) error
		lost   string
	}{
		"slow": {func(ctx context.Context, _ *v1.OwnerReport) error {
			<-ctx.Done()
			return errors.New("no answer in time")
		}, "no answer in time"},
		"of an older version": {func(context.Context, *v1.OwnerReport) error { return errors.New("nothing at /v1/owners/controller") },
			"nothing at /v1/owners/controller"},
		"garbage": {func(_ context.Context, r *v1.OwnerReport) error { *r = v1.OwnerReport{}; return nil }, `its report is of owner "", and "controller" was asked for`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				n := &fakeNode{report: faulty}
				b.nodes[m1] = n
				b.Set([]Target{target(m1, 80)})
				b.pass(time.Second)
				b.news()
				n.set(func(n *fakeNode) { n.report = row.report })
				b.pass(20 * time.Second)
				if r := b.only(); r.Lost != "" || len(r.Faults) != 1 || b.news() {
					t.Errorf("after 20 s: %+v", r)
				}
				b.Set([]Target{target(m1, 81)})
				b.pass(2 * time.Second)
				b.want(0, v1.PushInSync, gen(2))
				if n.count()+len(n.patches) != 2 {
					t.Errorf("%d states were sent, want 2", n.count()+len(n.patches))
				}
				b.pass(20 * time.Second)
				if r := b.only(); r.Lost != row.lost || !b.news() {
					t.Errorf("after 40 s: %+v, want it lost for %q", r, row.lost)
				}
				b.pass(20 * time.Second)
				if b.news() {
					t.Error("lost still is news")
				}
				n.set(func(n *fakeNode) { n.report = nil })
				b.pass(12 * time.Second)
				if r := b.only(); r.Lost != "" || len(r.Faults) != 0 || !b.news() {
					t.Errorf("back again: %+v", r)
				}
			})
		})
	}
}

// A node that is down from the start is lost after half a minute, once.
func TestANodeThatIsDownIsLost(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{down: errors.New("no route to host")}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		b.pass(29 * time.Second)
		if r := b.only(); r.Lost != "" || b.news() {
			t.Errorf("after 29 s: %+v", r)
		}
		b.pass(6 * time.Second)
		if r := b.only(); r.Lost != "no route to host" || r.Answered || !b.news() {
			t.Errorf("after 35 s: %+v", r)
		}
		n.set(func(n *fakeNode) { n.down = errors.New("connection refused") })
		b.pass(time.Minute)
		if r := b.only(); r.Lost != "no route to host" || b.news() {
			t.Errorf("another way to be down is news: %+v", r)
		}
		n.set(func(n *fakeNode) { n.down = nil })
		b.pass(7 * time.Second)
		if r := b.only(); r.Lost != "" || !r.Answered || !b.news() {
			t.Errorf("up again: %+v", r)
		}
	})
}

// What a node sends besides what it was told of, and at length, is not kept.
func TestReportsAreBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.nodes[m1] = &fakeNode{report: func(_ context.Context, r *v1.OwnerReport) error {
			long := v1.Condition{Status: true, Unknown: true, Message: strings.Repeat("ü", 10_000)}
			for port := range uint16(1000) {
				r.Faults = append(r.Faults, v1.ServiceFault{Frontend: frontend(port), Condition: long})
			}
			return nil
		}}
		b.Set([]Target{target(m1, 80)})
		b.pass(time.Second)
		r := b.only()
		if c := r.Faults[frontend(80)]; len(r.Faults) != 1 || c.Message != strings.Repeat("ü", longest/2) || c.Status || c.Unknown {
			t.Errorf("%d faults, %d bytes, %+v", len(r.Faults), len(c.Message), c)
		}
	})
}

func TestReportsAreOfNodesThatAreThere(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.nodes[m1], b.nodes[m2] = &fakeNode{}, &fakeNode{down: errors.New("no route to host")}
		b.Set([]Target{target(m2, 80), target(m1, 80)})
		synctest.Wait()
		if r := b.Reports(); len(r) != 2 || r[0].Node > r[1].Node {
			t.Errorf("reports %+v, want both by name", r)
		}
		b.Set([]Target{target(m1, 80)})
		synctest.Wait()
		if r := b.only(); r.Node != "n"+m1.String() {
			t.Errorf("of the one that stayed: %+v", r)
		}
	})
}
