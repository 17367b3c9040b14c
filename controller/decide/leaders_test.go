package decide

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/controller"
)

// TestFormerLeaderMovesNobody has a leader hang between its decision and its
// writes, and wake while the next one leads, who has decided on what was edited
// since and written some of that. Every write carries the version it was made
// for, so the one that woke reaches only Services that nobody wrote since. The
// next leader goes by its own memory: whatever it reads of the other in a status,
// no address moves.
func TestFormerLeaderMovesNobody(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := articleConfig(t)
		cfg.UniqueIP = rapid.Bool().Draw(rt, "unique")
		cfg.Pools = mustPools(t, "defaultPool=10.0.0.1-10.0.0.2,defaultPool=2001:db8::1-2001:db8::2,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128")
		start := drawSnapshot(rt)
		first := Decide(start, cfg, controller.Memory{})
		seen := drawEdits(rt, restarted(start, first), "a")
		former := restarted(seen, Decide(seen, cfg, first.Memory))
		snap := drawEdits(rt, seen, "b")
		d := Decide(snap, cfg, controller.Memory{LBs: first.Memory.LBs})
		next := restarted(snap, d)
		for i, o := range snap.Services {
			j := slices.Index(seen.Services, o) // the same object: not edited since
			if w := next.Services[i]; rapid.Bool().Draw(rt, "written") && !reflect.DeepEqual(w.Status, o.Status) {
				snap.Services[i] = w
			} else if j >= 0 && rapid.Bool().Draw(rt, "written by the former leader") {
				snap.Services[i] = former.Services[j]
			}
		}
		now := Decide(snap, cfg, d.Memory).Memory
		for key, h := range d.Memory.Addresses {
			for _, a := range h.List() {
				if got := now.Addresses[key].Of(a.Is6()); got != a {
					rt.Fatalf("%s had %s and has %s", key, a, got)
				}
			}
		}
		checkHolds(rt, now, cfg.UniqueIP)
		checkHolds(rt, Decide(snap, cfg, controller.Memory{LBs: d.Memory.LBs}).Memory, cfg.UniqueIP)
	})
}

// TestStatusOfAFormerLeaderTakesNothing has one give a Service, as it did not know
// of the other, the address that its successor gave to that.
func TestStatusOfAFormerLeaderTakesNothing(t *testing.T) {
	cfg := articleConfig(t)
	cfg.Pools = mustPools(t, "10.0.0.1/32")
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"))}
	former := restarted(snap, Decide(snap, cfg, controller.Memory{}))
	snap.Services = append(snap.Services, lb("b", ports("80:30081/TCP"), note("loxilb.io/staticIP", "10.0.0.1")))
	next := Decide(snap, cfg, controller.Memory{})
	snap.Services[0] = former.Services[0]
	const want = "default/b: 10.0.0.1"
	for _, m := range []controller.Memory{next.Memory, Decide(snap, cfg, next.Memory).Memory} {
		if got := printHolds(m); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// drawEdits is a snapshot with Services removed, edited and added; what is not
// edited is the same object. prefix names those that are added.
func drawEdits(rt *rapid.T, snap controller.Snapshot, prefix string) controller.Snapshot {
	out := snap
	out.Services = nil
	for _, o := range snap.Services {
		switch rapid.SampledFrom([]string{"left", "left", "edited", "removed"}).Draw(rt, o.Name) {
		case "edited":
			e := drawService(rt, o.Name)
			e.Status = o.Status
			o = e
		case "removed":
			continue
		}
		out.Services = append(out.Services, o)
	}
	for i := range rapid.IntRange(0, 3).Draw(rt, "added") {
		out.Services = append(out.Services, drawService(rt, fmt.Sprintf("%s%d", prefix, i)))
	}
	return out
}
