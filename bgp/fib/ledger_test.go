package fib_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/bgp/fake"
	"github.com/weir-lb/weir/bgp/fib"
)

func mustLedger(t *testing.T, dir string) *fib.Ledger {
	t.Helper()
	l, err := fib.OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mustSync brings the table to w and releases what an earlier run left.
func mustSync(t *testing.T, table *fib.Table, w fib.Wanted) fib.Result {
	t.Helper()
	res, err := table.Sync(time.Now(), w, true)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// prefixes of the routes that stand in the kernel as ours do.
func prefixes(k *fake.Kernel) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range k.Own() {
		out = append(out, r.Prefix)
	}
	return out
}

// Routes of another BGP speaker look as ours do; what is ours is known over a
// restart, and nothing else goes with a sweep or at the end.
func TestRoutesOfAnotherSpeakerStay(t *testing.T) {
	dir := t.TempDir()
	theirs := fib.Route{Prefix: two, Metric: fib.MetricOther, NextHops: []netip.Addr{hop}}
	k := fake.NewKernel(fib.Observed{Connected: []netip.Prefix{lan}, Own: []fib.Route{theirs}})
	mustSync(t, fib.NewTable(k, mustLedger(t, dir)), wanted(one))
	if got := prefixes(k); !slices.Equal(got, []netip.Prefix{one, two}) && !slices.Equal(got, []netip.Prefix{two, one}) {
		t.Fatalf("routes %v stand, want ours and theirs", got)
	}
	// The next run learns what the other speaker has: theirs stays as it is.
	second := fib.NewTable(k, mustLedger(t, dir))
	if res := mustSync(t, second, wanted(one, two)); len(res.Problems) != 1 || res.Problems[0].Reason != fib.ForeignRoute {
		t.Errorf("problems %+v, want one of a foreign route", res.Problems)
	}
	mustSync(t, fib.NewTable(k, mustLedger(t, dir)), fib.Wanted{})
	if got := prefixes(k); !slices.Equal(got, []netip.Prefix{two}) {
		t.Errorf("after the end routes %v stand, want theirs", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the folder, %v", left, err)
	}
}

// A crash comes between any two instructions: a route is noted before it stands.
func TestARouteIsNotedBeforeItStands(t *testing.T) {
	dir := t.TempDir()
	k := &dying{Kernel: fake.NewKernel(fib.Observed{Connected: []netip.Prefix{lan}})}
	func() {
		defer func() { _ = recover() }()
		mustSync(t, fib.NewTable(k, mustLedger(t, dir)), wanted(one))
	}()
	if len(k.Own()) != 1 {
		t.Fatal("the route does not stand")
	}
	mustSync(t, fib.NewTable(k.Kernel, mustLedger(t, dir)), fib.Wanted{})
	if got := prefixes(k.Kernel); len(got) > 0 {
		t.Errorf("the next run did not know %v for its own", got)
	}
}

// dying ends the process, as it were, right after a step.
type dying struct{ *fake.Kernel }

func (d *dying) Do(s fib.Step) error {
	_ = d.Kernel.Do(s)
	panic("killed")
}

func TestALedgerThatCannotBeReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "routes.json"), []byte(`{"boot":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fib.OpenLedger(dir); err == nil || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("got %v", err)
	}
}

// Routes do not outlive a boot of the machine: what stands then is another's. If
// the machine died, what it had not written yet is missing, and the node starts.
func TestNotesOfAnEarlierBootCountNoMore(t *testing.T) {
	for name, data := range map[string]string{
		"whole":    `{"boot":"earlier","routes":[{"prefix":"192.0.2.1/32","metric":30}]}`,
		"empty":    "",
		"of zeros": "\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) { earlierBoot(t, data) })
	}
}

func earlierBoot(t *testing.T, data string) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "routes.json"), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := fib.Route{Prefix: one, Metric: fib.MetricOther, NextHops: []netip.Addr{hop}}
	k := fake.NewKernel(fib.Observed{Own: []fib.Route{theirs}})
	mustSync(t, fib.NewTable(k, mustLedger(t, dir)), fib.Wanted{})
	if len(k.Own()) != 1 {
		t.Error("the route of another went")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the notes of the earlier boot stay: %v, %v", left, err)
	}
}

// A full disk costs the notes, not the traffic.
func TestARouteThatCannotBeNotedStandsAllTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := mustLedger(t, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	k := fake.NewKernel(fib.Observed{Connected: []netip.Prefix{lan}})
	res := mustSync(t, fib.NewTable(k, l), wanted(one))
	if len(k.Own()) != 1 || len(res.Problems) != 1 || res.Problems[0].Reason != fib.RouteNotNoted {
		t.Errorf("routes %v, problems %+v", k.Own(), res.Problems)
	}
}
