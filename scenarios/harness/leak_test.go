package harness

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-lb/weir/topo"
)

// What a topology has while it stands is what the check looks for.
func TestATopologyThatStandsIsFound(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("topologies need root")
	}
	page, err := topo.Load("one-lb")
	if err != nil {
		t.Fatal(err)
	}
	lab, err := topo.Up(t.Context(), page, topo.Options{NoProcesses: true})
	if err != nil {
		t.Fatal(err)
	}
	down := func() error { return lab.Down(context.WithoutCancel(t.Context())) }
	left := strings.Join(leftOf(lab.ID()), "\n")
	for _, want := range []string{"/run/netns/weir-" + lab.ID() + "-lb", "/run/weir-topo/" + lab.ID()} {
		if !strings.Contains(left, want) {
			t.Errorf("%s is not found in %q", want, left)
		}
	}
	if err := down(); err != nil {
		t.Fatal(err)
	}
	if left := leftOf(lab.ID()); len(left) > 0 {
		t.Errorf("%q is left of a topology that is down", left)
	}
}

func TestDifferenceCounts(t *testing.T) {
	got := difference([]string{"a", "b", "b"}, []string{"b", "c", "c"})
	if want := []string{"- a", "- b", "+ c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
