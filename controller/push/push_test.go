package push

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// fakeNode is a node in memory. It orders generations as a real one does.
type fakeNode struct {
	mu    sync.Mutex
	state v1.NodeState // its generation is zero while it holds none
	puts  []time.Time
	// patches are the accepted changes.
	patches []v1.NodeChange
	noPatch error // every change fails with it
	before  bool  // it is of a version before NodeState.Drained
	down    error // every request fails with it
	lose    bool  // the next accepted state's answer is lost
	lag     string
	closed  bool
	// asked are the times of the questions for a report.
	asked  []time.Time
	report func(ctx context.Context, r *v1.OwnerReport) error // changes the answer, if not nil
}

func (n *fakeNode) PutState(_ context.Context, owner string, s v1.NodeState) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.puts = append(n.puts, time.Now())
	switch {
	case owner != Owner:
		return fmt.Errorf("owner %q is not the controller's", owner)
	case n.down != nil:
		return n.down
	case n.before && s.Drained:
		return &Refused{Path: "drained", Err: errors.New("drained: unknown field")}
	case s.Generation.Compare(n.state.Generation) <= 0:
		return &Conflict{Current: n.state.Generation}
	}
	n.state = s
	if n.lose {
		n.lose = false
		return errors.New("connection reset")
	}
	return nil
}

func (n *fakeNode) PatchState(_ context.Context, owner string, c v1.NodeChange) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case owner != Owner:
		return fmt.Errorf("owner %q is not the controller's", owner)
	case v1.ValidateChange(c) != nil:
		return v1.ValidateChange(c)
	case n.down != nil:
		return n.down
	case n.noPatch != nil:
		return n.noPatch
	case c.Base != n.state.Generation:
		return &Conflict{Current: n.state.Generation}
	}
	n.state = c.Apply(n.state)
	n.patches = append(n.patches, c)
	if n.lose {
		n.lose = false
		return errors.New("connection reset")
	}
	return nil
}

func (n *fakeNode) OwnerStatus(context.Context, string) (v1.OwnerStatus, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return v1.OwnerStatus{Owner: Owner, Desired: n.state.Generation, Error: n.lag}, n.down
}

func (n *fakeNode) Report(ctx context.Context, _ string) (v1.OwnerReport, error) {
	n.mu.Lock()
	n.asked = append(n.asked, time.Now())
	g, report, down := n.state.Generation, n.report, n.down
	r := v1.OwnerReport{OwnerStatus: v1.OwnerStatus{Owner: Owner, Desired: g, Applied: g, Error: n.lag}}
	n.mu.Unlock()
	if report == nil || down != nil {
		return r, down
	}
	err := report(ctx, &r)
	return r, err
}

func (n *fakeNode) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
}

func (n *fakeNode) set(f func(*fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

func (n *fakeNode) holds() v1.NodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

func (n *fakeNode) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.puts)
}

// bench runs a Pusher towards fake nodes, in a bubble of synctest: time moves
// only when everything waits, and a goroutine that outlives Run fails the test.
type bench struct {
	*testing.T
	*Pusher
	nodes map[netip.Addr]*fakeNode
}

const epoch = 7

func inBubble(t *testing.T, test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, nodes: map[netip.Addr]*fakeNode{}}
		b.Pusher = New(Options{Epoch: epoch, Dial: func(tg Target) (Node, error) { return b.node(tg.Address), nil }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Pusher.Run(ctx) }()
		test(b)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (b *bench) node(a netip.Addr) *fakeNode {
	if b.nodes[a] == nil {
		b.nodes[a] = &fakeNode{}
	}
	return b.nodes[a]
}

// pass lets d go by and everything settle.
func (b *bench) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (b *bench) status(i int) v1.ControllerNode { return b.Status()[i] }

func (b *bench) want(i int, state string, pushed v1.Generation) {
	b.Helper()
	if s := b.status(i); s.State != state || s.Pushed != pushed {
		b.Errorf("got %s %s (%s), want %s %s", s.State, s.Pushed, s.LastError, state, pushed)
	}
}

func gen(sequence uint64) v1.Generation { return v1.Generation{Epoch: epoch, Sequence: sequence} }

var m1, m2 = netip.MustParseAddr("192.168.80.10"), netip.MustParseAddr("192.168.80.11")

// target has a state that differs with the port.
func target(a netip.Addr, port uint16) Target {
	vip := netip.MustParseAddr("123.123.123.1")
	return Target{Name: "n" + a.String(), Address: a, APIPort: 11111, Role: v1.NodeLB, State: v1.NodeState{
		Services: []v1.Service{{Frontend: v1.Frontend{VIP: vip, Port: port, Protocol: v1.TCP}}},
	}}
}

func TestGenerationMovesWithTheStateOnly(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.nodes[m1], b.nodes[m2] = &fakeNode{}, &fakeNode{}
		b.Set([]Target{target(m1, 80), target(m2, 80)})
		synctest.Wait()
		b.want(0, v1.PushInSync, gen(1))
		b.want(1, v1.PushInSync, gen(2))

		b.Set([]Target{target(m1, 80), target(m2, 81)})
		synctest.Wait()
		b.want(0, v1.PushInSync, gen(1))
		b.want(1, v1.PushInSync, gen(3))
		if n := b.nodes[m1].count(); n != 1 {
			t.Errorf("the node whose state rested got it %d times", n)
		}
		if p := b.nodes[m2].holds().Services[0].Port; p != 81 {
			t.Errorf("the other one has port %d, want 81", p)
		}
	})
}

// TestBehind follows which nodes lack what was Set by a mark: who accepted it
// does not become behind by what is Set later, and who left is waited for until
// it is given up.
func TestBehind(t *testing.T) {
	inBubble(t, func(b *bench) {
		slow := &fakeNode{down: errors.New("no route to host")}
		b.nodes[m1], b.nodes[m2] = &fakeNode{}, slow
		want := func(when string, mark uint64, names ...string) {
			t.Helper()
			if got := b.Behind(mark); !slices.Equal(got, names) {
				t.Errorf("%s: behind are %q, want %q", when, got, names)
			}
		}
		b.Set([]Target{target(m1, 80), target(m2, 80)})
		first := b.Mark()
		want("before anything was sent", first, "n192.168.80.10", "n192.168.80.11")
		synctest.Wait()
		want("one has it", first, "n192.168.80.11")
		slow.set(func(n *fakeNode) { n.down = nil })
		b.pass(time.Minute)
		want("both have it", first)

		slow.set(func(n *fakeNode) { n.down = errors.New("no route to host") })
		b.Set([]Target{target(m1, 80), target(m2, 81)})
		second := b.Mark()
		b.pass(time.Second)
		want("the other fails at the next", second, "n192.168.80.11")
		b.Set([]Target{target(m1, 80)})
		b.pass(time.Second)
		want("and leaves", second, "n192.168.80.11")
		b.pass(time.Minute)
		want("and is given up", second)
	})
}

func TestRetryBacksOff(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{down: errors.New("no route to host")}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		b.pass(time.Minute)
		s := b.status(0)
		if s.State != v1.PushRetrying || s.LastError != "no route to host" || s.Attempts < 10 || s.NextRetry.Before(time.Now()) {
			t.Errorf("got %+v, want it retrying with the error and the time of the next attempt", s)
		}
		for i := 1; i < len(n.puts); i++ {
			whole := min(200*time.Millisecond<<(i-1), 5*time.Second)
			if pause := n.puts[i].Sub(n.puts[i-1]); pause < whole/2 || pause > whole {
				t.Errorf("pause %d was %s, want %s to %s", i, pause, whole/2, whole)
			}
		}
		// A change does not cut the pause short, else a busy cluster would
		// storm a dead node.
		before := n.count()
		for port := range uint16(100) {
			b.Set([]Target{target(m1, 1000+port)})
			synctest.Wait()
		}
		if n.count() > before {
			t.Errorf("%d attempts more for 100 changes at one moment", n.count()-before)
		}
		n.set(func(n *fakeNode) { n.down = nil })
		b.pass(5 * time.Second)
		b.want(0, v1.PushInSync, gen(101))
		if s := b.status(0); s.Attempts != 0 || s.LastError != "" || !s.NextRetry.IsZero() {
			t.Errorf("after a success: %+v", s)
		}
		if p := n.holds().Services[0].Port; p != 1099 {
			t.Errorf("the node has port %d, want the newest, 1099", p)
		}
	})
}

func TestNodeThatLostItsStateGetsItAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		synctest.Wait()
		for _, left := range []v1.Generation{{}, {Epoch: epoch - 1, Sequence: 99}} {
			n.set(func(n *fakeNode) { n.state = v1.NodeState{Generation: left} })
			b.pass(1100 * time.Millisecond)
			if got := n.holds(); got.Generation != gen(1) || len(got.Services) != 1 {
				t.Errorf("restarted with %s: the node holds %+v, want generation 7.1 with its service", left, got)
			}
		}
		if c := n.count(); c != 3 {
			t.Errorf("%d pushes, want one and one a restart", c)
		}
	})
}

func TestPolledNodeThatIsDownIsShown(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		b.pass(time.Second)
		n.set(func(n *fakeNode) { n.down = errors.New("timeout") })
		b.pass(2 * time.Second)
		b.want(0, v1.PushRetrying, gen(1))
		n.set(func(n *fakeNode) { n.down, n.lag = nil, "bgp: port 179 is taken" })
		b.pass(5 * time.Second)
		b.want(0, v1.PushInSync, gen(1))
		if e := b.status(0).LastError; e != "bgp: port 179 is taken" {
			t.Errorf("the node's own error is shown as %q", e)
		}
	})
}

func TestLostAnswerIsNoConflict(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.nodes[m1] = &fakeNode{lose: true}
		b.Set([]Target{target(m1, 80)})
		b.pass(time.Second)
		b.want(0, v1.PushInSync, gen(1))
	})
}

func TestNewerLeaderStopsThePush(t *testing.T) {
	newer := v1.NodeState{Generation: v1.Generation{Epoch: epoch + 1, Sequence: 1}}
	for says, start := range map[string]v1.NodeState{"met by PUT": newer, "met by a poll": {}} {
		inBubble(t, func(b *bench) {
			n := &fakeNode{state: start}
			b.nodes[m1] = n
			b.Set([]Target{target(m1, 80)})
			synctest.Wait()
			n.set(func(n *fakeNode) { n.state = newer })
			b.pass(2 * time.Second)
			s := b.status(0)
			if s.State != v1.PushSuperseded || s.LastError != "the node holds generation 8.1 of another controller; stop one of the two" {
				t.Errorf("%s: got %s, %q", says, s.State, s.LastError)
			}
			pushes := n.count()
			b.Set([]Target{target(m1, 81)})
			b.pass(time.Minute)
			if n.count() != pushes || n.holds().Generation != newer.Generation {
				t.Errorf("%s: pushed on against the newer leader", says)
			}
		})
	}
}

func TestNodeThatLeftGetsAnEmptyState(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.nodes[m1], b.nodes[m2] = &fakeNode{}, &fakeNode{}
		b.Set([]Target{target(m1, 80), target(m2, 80)})
		synctest.Wait()
		b.Set([]Target{target(m1, 80)})
		synctest.Wait()
		if got := b.nodes[m2].holds(); got.Generation != gen(3) || len(got.Services) != 0 {
			t.Errorf("the node that left holds %+v, want an empty state of generation 7.3", got)
		}
		if len(b.Status()) != 1 || !b.nodes[m2].closed {
			t.Errorf("it is still in the status (%v), or its client is open", b.Status())
		}
		// It comes back: its generation must not start over.
		b.Set([]Target{target(m1, 80), target(m2, 80)})
		b.pass(5 * time.Second)
		if got := b.nodes[m2].holds(); len(got.Services) != 1 {
			t.Errorf("back again it holds %+v, want its service (status %+v)", got, b.status(1))
		}
	})
}

func TestNodeThatLeftAndIsDeadIsForgotten(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{down: errors.New("no route to host")}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		synctest.Wait()
		b.Set(nil)
		b.pass(10 * time.Second)
		if s := b.Status(); len(s) != 1 || s[0].State != v1.PushRemoving {
			t.Fatalf("after 10 s: %+v, want it shown as being removed", s)
		}
		b.pass(30 * time.Second)
		if s := b.Status(); len(s) != 0 {
			t.Errorf("after 40 s it is still tried: %+v", s)
		}
	})
}

func TestNodeThatComesBackWhileItIsRemoved(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{down: errors.New("no route to host")}
		b.nodes[m1] = n
		b.Set([]Target{target(m1, 80)})
		synctest.Wait()
		b.Set(nil)
		b.Set([]Target{target(m1, 80)})
		n.set(func(n *fakeNode) { n.down = nil })
		b.pass(time.Second)
		b.want(0, v1.PushInSync, gen(3))
	})
}

func TestStatusOrder(t *testing.T) {
	inBubble(t, func(b *bench) {
		peer := target(netip.MustParseAddr("192.168.80.2"), 80)
		peer.Role = v1.NodePeer
		b.nodes[peer.Address], b.nodes[m1], b.nodes[m2] = &fakeNode{}, &fakeNode{}, &fakeNode{}
		b.Set([]Target{peer, target(m2, 80), target(m1, 80)})
		synctest.Wait()
		var got []netip.Addr
		for _, s := range b.Status() {
			got = append(got, s.Address)
		}
		if want := []netip.Addr{m1, m2, peer.Address}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want load balancers first, by address: %v", got, want)
		}
	})
}
