package result

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   Stats
	}{
		{"one", []float64{7}, Stats{7, 7, 7, 7, 7}},
		{"odd, out of order", []float64{5, 1, 3}, Stats{Median: 3, Min: 1, Max: 5, Low: 2, High: 4}},
		{"even", []float64{1, 2, 3, 4}, Stats{Median: 2.5, Min: 1, Max: 4, Low: 1.75, High: 3.25}},
		{"an outlier moves the median little", []float64{10, 10, 10, 11, 900}, Stats{Median: 10, Min: 10, Max: 900, Low: 10, High: 11}},
	} {
		if d := cmp.Diff(c.want, Of(c.values)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
	}
	if !math.IsNaN(Of(nil).Median) {
		t.Error("no samples have a median")
	}
}

func row(subject, variant, baseline string, values ...float64) Row {
	r := Row{Subject: subject, Variant: variant, Baseline: baseline}
	for _, v := range values {
		r.Samples = append(r.Samples, Sample{Value: v, Sent: 10, Lost: 1})
	}
	return r
}

func TestPairsCompareWithinARound(t *testing.T) {
	// The machine is ten times slower in the second round; the ratio does not see it.
	a, b := row("a", "1", "", 20, 200, 22), row("b", "1", "", 10, 100, 10)
	for c, want := range map[Compare][]float64{
		Multiple: {2, 2, 2.2}, Difference: {10, 100, 12}, Share: {200, 200, 220},
	} {
		if d := cmp.Diff(want, Pairs(c, &a, &b)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c, d)
		}
	}
}

func TestBaseIsOfTheSameVariantOrTheOnlyOne(t *testing.T) {
	s := Section{Rows: []Row{row("floor", "-", "", 1), row("tc floor", "1", "", 2), row("tc floor", "2", "", 3), row("weir", "2", "tc floor", 4)}}
	if got := s.Base(&s.Rows[3]); got != &s.Rows[2] {
		t.Errorf("base of weir is %+v", got)
	}
	other := row("x", "2", "floor", 1)
	if got := s.Base(&other); got != &s.Rows[0] {
		t.Errorf("base of x is %+v", got)
	}
	if got := s.Base(&s.Rows[0]); got != nil {
		t.Errorf("the floor has a base, %+v", got)
	}
}

func TestSaveLoad(t *testing.T) {
	want := &Run{Quick: true, Machine: Machine{CPUs: 2}, Sections: []Section{{Name: "chain", Rows: []Row{row("a", "1", "", 1, 2)}}}}
	file := filepath.Join(t.TempDir(), "results.json")
	if err := want.Save(file); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	lost, sent := got.Sections[0].Rows[0].Lost()
	if lost != 2 || sent != 20 {
		t.Errorf("lost %d of %d, want 2 of 20", lost, sent)
	}
}
