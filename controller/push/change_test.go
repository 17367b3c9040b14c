package push

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	v1 "github.com/weir-lb/weir/api/v1"
)

// many is a target with services on ports 1 to n, those of moved with a
// backend of their own.
func many(n uint16, moved ...uint16) Target {
	t := target(m1, 0)
	t.State.Services = nil
	for port := uint16(1); port <= n; port++ {
		t.State.Services = append(t.State.Services, one(port, slices.Contains(moved, port)))
	}
	return t
}

func one(port uint16, moved bool) v1.Service {
	s := target(m1, port).State.Services[0]
	if moved {
		s.Backends = []v1.Backend{{Address: m2, Port: port}}
	}
	return s
}

// wantHeld compares what the node holds with what it should, in any order.
func (b *bench) wantHeld(n *fakeNode, want Target, g v1.Generation, puts, patches int) {
	b.Helper()
	got := n.holds()
	if got.Generation != g || fmt.Sprint(sorted(got.Services)) != fmt.Sprint(sorted(want.State.Services)) {
		b.Errorf("the node holds %s %v\nwant %s %v", got.Generation, got.Services, g, want.State.Services)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.puts) != puts || len(n.patches) != patches {
		b.Errorf("%d whole states and %d changes were sent, want %d and %d", len(n.puts), len(n.patches), puts, patches)
	}
}

func sorted(services []v1.Service) []v1.Service {
	return slices.SortedFunc(slices.Values(services), func(a, b v1.Service) int { return a.Frontend.Compare(b.Frontend) })
}

func TestASmallChangeIsSentAsOne(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		b.Set([]Target{many(10)})
		synctest.Wait()
		b.wantHeld(n, many(10), gen(1), 1, 0)
		b.Set([]Target{many(9, 3)})
		synctest.Wait()
		b.wantHeld(n, many(9, 3), gen(2), 1, 1)
		if c := n.patches[0]; len(c.Upsert) != 1 || c.Upsert[0].Port != 3 || len(c.Remove) != 1 || c.Remove[0].Port != 10 || c.BGP != nil || c.Roles != nil {
			t.Errorf("sent %+v, want port 3 and without port 10", c)
		}
		b.Set([]Target{many(20)})
		synctest.Wait()
		b.wantHeld(n, many(20), gen(3), 2, 1)
		b.want(0, v1.PushInSync, gen(3))
	})
}

func TestAConflictOfAChangeIsMetWithTheWhole(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		b.Set([]Target{many(10)})
		synctest.Wait()
		// It restarts and forgets, and before anybody polls there is a change.
		n.set(func(n *fakeNode) { n.state = v1.NodeState{} })
		b.Set([]Target{many(10, 3)})
		synctest.Wait()
		b.wantHeld(n, many(10, 3), gen(2), 2, 0)
		b.want(0, v1.PushInSync, gen(2))
	})
}

func TestALostAnswerToAChangeIsNoConflict(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		b.Set([]Target{many(10)})
		synctest.Wait()
		n.set(func(n *fakeNode) { n.lose = true })
		b.Set([]Target{many(10, 3)})
		b.pass(time.Second)
		b.wantHeld(n, many(10, 3), gen(2), 2, 1)
		b.want(0, v1.PushInSync, gen(2))
		b.Set([]Target{many(10, 4)})
		b.pass(time.Second)
		b.wantHeld(n, many(10, 4), gen(3), 2, 2)
	})
}

func TestANodeThatTakesNoChangesGetsTheWhole(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{noPatch: errors.New("/v1/state/controller has no PATCH; use PUT")}
		b.nodes[m1] = n
		b.Set([]Target{many(10)})
		synctest.Wait()
		b.Set([]Target{many(10, 3)})
		b.pass(time.Second)
		b.wantHeld(n, many(10, 3), gen(2), 2, 0)
		b.want(0, v1.PushInSync, gen(2))
	})
}

// TestANodeThatCannotBeToldItIsDrainedGetsTheRest has one of a version before that
// take its ranks, and what else changes meanwhile.
func TestANodeThatCannotBeToldItIsDrainedGetsTheRest(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{before: true}
		b.nodes[m1] = n
		told := func(t Target, drained bool) Target {
			t.State.Roles, t.State.Drained = []v1.Role{{VIP: m1, Rank: 1, Nodes: 2}}, drained
			return t
		}
		for i, step := range []struct {
			want          Target
			puts, patches int
		}{{told(many(10), false), 1, 0}, {told(many(10), true), 3, 0}, {told(many(10, 3), true), 3, 1}, {told(many(10, 3), false), 4, 1}} {
			b.Set([]Target{step.want})
			synctest.Wait()
			b.wantHeld(n, step.want, gen(uint64(i+1)), step.puts, step.patches)
			b.want(0, v1.PushInSync, gen(uint64(i+1)))
			if got := n.holds(); got.Drained || len(got.Roles) != 1 || b.status(0).Drained != step.want.State.Drained {
				t.Errorf("step %d: the node holds %+v; shown as drained: %t", i, got, b.status(0).Drained)
			}
		}
		n.set(func(n *fakeNode) { n.before = false })
		b.Set([]Target{told(many(10), true)})
		synctest.Wait()
		if !n.holds().Drained {
			t.Error("one that can be told is not")
		}
	})
}

func TestANewerLeaderMetByAChangeStopsThePush(t *testing.T) {
	inBubble(t, func(b *bench) {
		n := &fakeNode{}
		b.nodes[m1] = n
		b.Set([]Target{many(10)})
		synctest.Wait()
		newer := v1.Generation{Epoch: epoch + 1, Sequence: 1}
		n.set(func(n *fakeNode) { n.state.Generation = newer })
		b.Set([]Target{many(10, 3)})
		synctest.Wait()
		if s := b.status(0); s.State != v1.PushSuperseded || n.holds().Generation != newer {
			t.Errorf("got %+v, the node holds %s", s, n.holds().Generation)
		}
	})
}

func TestChangeOf(t *testing.T) {
	bgp := &v1.BGP{ASN: 64512}
	role := []v1.Role{{VIP: m1, Nodes: 1}}
	with := func(s v1.NodeState, b *v1.BGP, r []v1.Role) v1.NodeState {
		s.BGP, s.Roles = b, r
		return s
	}
	drained := func(s v1.NodeState) v1.NodeState {
		s.Drained = true
		return s
	}
	twice := many(10).State
	twice.Services = append(twice.Services, one(10, true))
	rows := []struct {
		name          string
		before, after v1.NodeState
		small         bool
		bgp, roles    bool
	}{
		{"nothing", many(10).State, many(10).State, true, false, false},
		{"a quarter", many(8).State, many(8, 1, 2).State, true, false, false},
		{"more than a quarter", many(8).State, many(8, 1, 2, 3).State, false, false, false},
		{"all gone", many(8).State, many(0).State, false, false, false},
		{"roles alone", many(1).State, with(many(1).State, nil, role), true, false, true},
		{"no roles any more", with(many(1).State, nil, role), many(1).State, true, false, true},
		{"BGP alone", many(1).State, with(many(1).State, bgp, nil), true, true, false},
		{"BGP stops, which a change cannot say", with(many(8).State, bgp, nil), many(8).State, false, false, false},
		{"drained, which a change does not say", many(8).State, drained(many(8).State), false, false, false},
		{"not drained any more", drained(many(8).State), many(8).State, false, false, false},
		{"drained as before", drained(many(8).State), drained(many(8, 1).State), true, false, false},
		{"one frontend twice", twice, many(10).State, false, false, false},
		{"one frontend twice from now on", many(10).State, twice, false, false, false},
	}
	for _, r := range rows {
		c, small := changeOf(r.before, r.after)
		if small != r.small || (c.BGP != nil) != r.bgp || (c.Roles != nil) != r.roles {
			t.Errorf("%s: got %+v, small %v", r.name, c, small)
		}
	}
}

// TestAChangeSaysWhatTheWholeSays draws a state and edits to it: whenever a
// change may be sent, the node has by it what the whole state would have given
// it.
func TestAChangeSaysWhatTheWholeSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := many(rapid.Uint16Range(1, 30).Draw(t, "services")).State
		before.Generation = gen(1)
		after := before
		after.Generation, after.Services = gen(2), slices.Clone(before.Services)
		for range rapid.IntRange(0, 6).Draw(t, "edits") {
			edit(t, &after)
		}
		c, small := changeOf(before, after)
		if !small {
			return
		}
		got := c.Apply(before)
		got.Services, after.Services = sorted(got.Services), sorted(after.Services)
		if len(got.Roles) == 0 && len(after.Roles) == 0 {
			got.Roles = after.Roles
		}
		if !reflect.DeepEqual(got, after) {
			t.Fatalf("got  %+v\nwant %+v", got, after)
		}
	})
}

// edit changes one thing of a state.
func edit(t *rapid.T, s *v1.NodeState) {
	port := rapid.Uint16Range(1, 40).Draw(t, "port")
	at := slices.IndexFunc(s.Services, func(s v1.Service) bool { return s.Port == port })
	switch rapid.SampledFrom([]string{"set", "remove", "roles", "bgp", "drained"}).Draw(t, "edit") {
	case "set":
		if at >= 0 {
			s.Services = slices.Delete(s.Services, at, at+1)
		}
		s.Services = append(s.Services, one(port, rapid.Bool().Draw(t, "moved")))
	case "remove":
		if at >= 0 {
			s.Services = slices.Delete(s.Services, at, at+1)
		}
	case "roles":
		s.Roles = nil
		for i := range rapid.IntRange(0, 2).Draw(t, "roles") {
			s.Roles = append(s.Roles, v1.Role{VIP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Nodes: 1})
		}
	case "drained":
		s.Drained = !s.Drained
	case "bgp":
		s.BGP = &v1.BGP{ASN: rapid.Uint32Range(1, 2).Draw(t, "asn")}
	}
}
