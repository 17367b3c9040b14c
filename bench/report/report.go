// Package report makes tables of results: for bench/out, and for the marked places
// of docs/performance.md, so that the page says what was measured. It is pure.
package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weir-lb/weir/bench/result"
)

// Page is the whole report of a run.
func Page(r *result.Run) string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n" + Machine(r) + "\n")
	if !r.Quick {
		b.WriteString("## Targets\n\n" + Targets(r) + "\n")
	}
	for i := range r.Sections {
		s := &r.Sections[i]
		fmt.Fprintf(&b, "## %s\n\n%s\n%s\n", s.Title, Matrix(s), List(s))
	}
	return b.String()
}

// Parts are what docs/performance.md has places for, by the name of the place.
func Parts(r *result.Run) map[string]string {
	parts := map[string]string{"machine": Machine(r), "targets": Targets(r)}
	for i := range r.Sections {
		parts[r.Sections[i].Name] = Matrix(&r.Sections[i])
	}
	return parts
}

// Machine is the facts.
func Machine(r *result.Run) string {
	m := r.Machine
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | "+format+" |\n", append([]any{name}, args...)...)
	}
	b.WriteString("| what | on this run |\n|---|---|\n")
	row("date", "%s, %d min", r.Started.Format("2006-01-02 15:04"), int(math.Ceil(r.Took/60)))
	row("weir", "%s", m.Weir)
	row("CPU", "%d x %s, %d GB of memory", m.CPUs, m.CPU, m.Memory>>30)
	row("kernel", "%s, JIT %s", m.Kernel, m.JIT)
	row("mitigations", "%s", strings.Join(m.Mitigations, ", "))
	var tools []string
	for _, line := range m.Tools {
		tools = append(tools, line)
	}
	slices.Sort(tools)
	row("beside", "%s", strings.Join(tools, ", "))
	row("noise", "load %.1f before, %.1f after; CPUs busy %.0f %%, %.0f %% stolen by other guests",
		m.Load[0], m.Load[1], 100*m.Busy, 100*m.Steal)
	return b.String()
}

// Matrix is a section with a line for each subject and a column for each variant:
// the median, and how it compares with the baseline.
func Matrix(s *result.Section) string {
	var subjects, variants []string
	for _, r := range s.Rows {
		if !slices.Contains(subjects, r.Subject) {
			subjects = append(subjects, r.Subject)
		}
		if !slices.Contains(variants, r.Variant) {
			variants = append(variants, r.Variant)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | against | %s | lost |\n|---|---|%s---|\n", s.Unit, strings.Join(variants, " | "), strings.Repeat("---|", len(variants)))
	for _, subject := range subjects {
		var cells []string
		against := ""
		lost, sent := uint64(0), uint64(0)
		for _, variant := range variants {
			row := s.Row(subject, variant)
			if row == nil {
				cells = append(cells, "")
				continue
			}
			against = row.Baseline
			l, n := row.Lost()
			lost, sent = lost+l, sent+n
			cells = append(cells, cell(s, row))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", subject, against, strings.Join(cells, " | "), loss(lost, sent))
	}
	return b.String()
}

func cell(s *result.Section, row *result.Row) string {
	text := number(result.Of(row.Values()).Median)
	if base := s.Base(row); base != nil {
		text += " (" + compared(s.Compare, result.Of(result.Pairs(s.Compare, row, base)).Median) + ")"
	}
	return text
}

func compared(c result.Compare, x float64) string {
	switch c {
	case result.Difference:
		return fmt.Sprintf("%+.0f", x)
	case result.Share:
		return fmt.Sprintf("%.0f %%", x)
	default:
		return fmt.Sprintf("%.1f x", x)
	}
}

// List is a section with all that is known of each row.
func List(s *result.Section) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | | rounds | median | min | max | half lie within | against | lost |\n|---|---|---|---|---|---|---|---|---|\n", s.Unit)
	for i := range s.Rows {
		row := &s.Rows[i]
		st := result.Of(row.Values())
		against := ""
		if base := s.Base(row); base != nil {
			p := result.Of(result.Pairs(s.Compare, row, base))
			against = fmt.Sprintf("%s of %s, half within %s to %s", compared(s.Compare, p.Median), base.Subject,
				compared(s.Compare, p.Low), compared(s.Compare, p.High))
		}
		lost, sent := row.Lost()
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %s to %s | %s | %s |\n", row.Subject, row.Variant, len(row.Samples),
			number(st.Median), number(st.Min), number(st.Max), number(st.Low), number(st.High), against, loss(lost, sent))
	}
	return b.String()
}

// CSV is one line a row, for plots.
func CSV(r *result.Run) string {
	var b strings.Builder
	b.WriteString("section,title,unit,subject,variant,median,low,high,min,max\n")
	for _, s := range r.Sections {
		for i := range s.Rows {
			st := result.Of(s.Rows[i].Values())
			fmt.Fprintf(&b, "%s,%q,%s,%s,%s,%g,%g,%g,%g,%g\n", s.Name, s.Title, s.Unit, s.Rows[i].Subject, s.Rows[i].Variant,
				st.Median, st.Low, st.High, st.Min, st.Max)
		}
	}
	return b.String()
}

// loss is nothing, or how much.
func loss(lost, sent uint64) string {
	if lost == 0 {
		return "0"
	}
	return fmt.Sprintf("%d of %d", lost, sent)
}

// number has three digits that count, or all before the point.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case math.Abs(x) >= 100:
		return fmt.Sprintf("%.0f", x)
	case math.Abs(x) >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
