package agent

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	v1 "github.com/weir-lb/weir/api/v1"
)

// TestMergeNeverMovesWhatIsHeld sends random states of three owners and holds
// after each: every wanted frontend is served once, by one who wants it; who
// held it before and still wants it holds it, restarts between or not;
// everybody else is told.
func TestMergeNeverMovesWhatIsHeld(t *testing.T) {
	owners := []string{"controller", "file", "netlox"}
	rapid.Check(t, func(t *rapid.T) {
		states := map[string]v1.NodeState{}
		var claims Claims
		held := map[v1.Frontend]string{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			owner := rapid.SampledFrom(owners).Draw(t, "owner")
			ports := rapid.SliceOfNDistinct(rapid.Uint16Range(1, 5), 0, 5, rapid.ID).Draw(t, "ports")
			var services []v1.Service
			for _, p := range ports {
				services = append(services, service(vip, p))
			}
			states[owner] = v1.NodeState{Services: services}
			var d Desired
			d, claims = Merge(states, claims)
			checkMerge(t, states, held, d)
			if rapid.Bool().Draw(t, "restart") {
				states, claims = restarted(t, states, claims)
			}
			held = maps.Clone(d.Owners)
		}
	})
}

// TestAnEncoderWritesAsANewOne: texts that it keeps are those of the services as they are now.
func TestAnEncoderWritesAsANewOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept encoder
		for range 4 {
			states := map[string]v1.NodeState{}
			for _, owner := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b"}), 0, 2, rapid.ID).Draw(t, "owners") {
				var s v1.NodeState
				for _, port := range rapid.SliceOfN(rapid.Uint16Range(1, 3), 0, 4).Draw(t, "ports") { // one of them twice, too
					one := service(vip, port)
					one.Monitor = rapid.Bool().Draw(t, "monitor")
					one.Backends = one.Backends[:rapid.IntRange(0, len(one.Backends)).Draw(t, "backends")]
					s.Services = append(s.Services, one)
				}
				states[owner] = s
			}
			got, err := kept.encode(Saved{States: states})
			if err != nil {
				t.Fatal(err)
			}
			if want, err := new(encoder).encode(Saved{States: states}); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s, %v", got, want, err)
			}
		}
	})
}

// restarted is what a store has after a restart, from a state file.
func restarted(t *rapid.T, states map[string]v1.NodeState, claims Claims) (map[string]v1.NodeState, Claims) {
	text, err := new(encoder).encode(Saved{States: states, Claims: claims})
	if err != nil {
		t.Fatal(err)
	}
	s, err := decodeSaved(text)
	if err != nil {
		t.Fatal(err)
	}
	after := NewStore(s)
	return after.states, after.claims
}

func checkMerge(t *rapid.T, states map[string]v1.NodeState, held map[v1.Frontend]string, d Desired) {
	wanted := map[v1.Frontend][]string{}
	for owner, s := range states {
		for _, service := range s.Services {
			wanted[service.Frontend] = append(wanted[service.Frontend], owner)
		}
	}
	if len(d.Services) != len(wanted) || len(d.Owners) != len(wanted) {
		t.Fatalf("%d services and %d owners for %d wanted frontends", len(d.Services), len(d.Owners), len(wanted))
	}
	waiting := 0
	for f, owners := range wanted {
		waiting += len(owners) - 1
		if !slices.Contains(owners, d.Owners[f]) {
			t.Fatalf("%s went to %q, wanted by %v", f, d.Owners[f], owners)
		}
		if before := held[f]; slices.Contains(owners, before) && d.Owners[f] != before {
			t.Fatalf("%s went from %s to %s", f, before, d.Owners[f])
		}
	}
	if len(d.Refused) != waiting {
		t.Fatalf("%d owners are told that they do not have it, want %d", len(d.Refused), waiting)
	}
	if !slices.IsSortedFunc(d.Services, func(a, b v1.Service) int { return a.Frontend.Compare(b.Frontend) }) {
		t.Fatal("services are not in order")
	}
}
