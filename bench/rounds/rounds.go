// Package rounds measures cases in turn: a round measures each once, the next one
// in the opposite order. So what slows the machine for a while slows all of them.
package rounds

import (
	"context"
	"fmt"
	"regexp"

	"github.com/weir-lb/weir/bench/result"
)

// Case is one row of a section and how to measure it.
type Case struct {
	Subject, Variant, Baseline string
	Measure                    func(context.Context) (result.Sample, error)
}

// Select returns the cases of a section whose names match only, and what those are
// compared with, in the order given.
func Select(section string, cases []Case, only *regexp.Regexp) []Case {
	wanted := make([]bool, len(cases))
	for i, c := range cases {
		if only.MatchString(result.Name(section, c.Subject, c.Variant)) {
			want(cases, wanted, i)
		}
	}
	var selected []Case
	for i, c := range cases {
		if wanted[i] {
			selected = append(selected, c)
		}
	}
	return selected
}

// want marks a case, its baseline, and that one's.
func want(cases []Case, wanted []bool, i int) {
	wanted[i] = true
	base := -1
	for j, b := range cases {
		if b.Subject != cases[i].Baseline {
			continue
		}
		base = j
		if b.Variant == cases[i].Variant {
			break
		}
	}
	if base >= 0 && !wanted[base] {
		want(cases, wanted, base)
	}
}

// Run measures the cases and returns a row for each. progress gets a line a round.
func Run(ctx context.Context, section string, rounds int, cases []Case, progress func(string, ...any)) ([]result.Row, error) {
	rows := make([]result.Row, len(cases))
	for i, c := range cases {
		rows[i] = result.Row{Subject: c.Subject, Variant: c.Variant, Baseline: c.Baseline}
	}
	for round := range rounds {
		for n := range cases {
			i := n
			if round%2 == 1 {
				i = len(cases) - 1 - n
			}
			c := cases[i]
			if err := ctx.Err(); err != nil {
				return rows, err
			}
			sample, err := c.Measure(ctx)
			if err != nil {
				return rows, fmt.Errorf("measure %s: %w", result.Name(section, c.Subject, c.Variant), err)
			}
			rows[i].Samples = append(rows[i].Samples, sample)
		}
		progress("%s: round %d of %d, %d cases", section, round+1, rounds, len(cases))
	}
	return rows, nil
}
