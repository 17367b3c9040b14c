package rounds

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/weir-lb/weir/bench/result"
)

func TestSelectBringsBaselines(t *testing.T) {
	cases := []Case{
		{Subject: "floor", Variant: "-"},
		{Subject: "route", Variant: "1", Baseline: "floor"},
		{Subject: "route", Variant: "2", Baseline: "floor"},
		{Subject: "weir", Variant: "1", Baseline: "route"},
		{Subject: "weir", Variant: "2", Baseline: "route"},
		{Subject: "nft", Variant: "2", Baseline: "route"},
	}
	for only, want := range map[string][]string{
		"":               {"floor/-", "route/1", "route/2", "weir/1", "weir/2", "nft/2"},
		"^chain/weir/2$": {"floor/-", "route/2", "weir/2"},
		"floor":          {"floor/-"},
		"nothing":        nil,
	} {
		var got []string
		for _, c := range Select("chain", cases, regexp.MustCompile(only)) {
			got = append(got, c.Subject+"/"+c.Variant)
		}
		if !slices.Equal(got, want) {
			t.Errorf("only %q selects %v, want %v", only, got, want)
		}
	}
}

func TestRunTurnsTheOrderRound(t *testing.T) {
	var order []string
	measured := func(name string) Case {
		return Case{Subject: name, Measure: func(context.Context) (result.Sample, error) {
			order = append(order, name)
			return result.Sample{Value: float64(len(order))}, nil
		}}
	}
	rows, err := Run(t.Context(), "s", 3, []Case{measured("a"), measured("b")}, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("measured %v, want %v", order, want)
	}
	if got, want := rows[1].Values(), []float64{2, 3, 6}; !slices.Equal(got, want) {
		t.Errorf("samples of b: %v, want %v", got, want)
	}
}

func TestRunNamesWhatFailed(t *testing.T) {
	broken := errors.New("broken")
	_, err := Run(t.Context(), "s", 1, []Case{{Subject: "a", Variant: "1", Measure: func(context.Context) (result.Sample, error) {
		return result.Sample{}, broken
	}}}, func(string, ...any) {})
	if !errors.Is(err, broken) || fmt.Sprint(err) != "measure s/a/1: broken" {
		t.Errorf("Run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, "s", 1, []Case{{}}, func(string, ...any) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run after a cancel: %v", err)
	}
}
