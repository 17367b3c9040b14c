package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/weir-lb/weir/bench/result"
)

// target is a figure that weir wants to have. A bound of NaN is none.
type target struct {
	what    string
	measure func(*result.Run) float64
	compare result.Compare
	// first is what holds from now on, goal what comes.
	first, goal float64
}

var none = math.NaN()

// targets are what the project has set itself.
var targets = []target{
	{"XDP, TCP, 1 flow, over its floor", ratio("testrun", "xdp tcp 64", "1"), result.Multiple, 5, 3},
	{"TC, TCP, 1 flow, over its floor", ratio("testrun", "tc tcp 64", "1"), result.Multiple, 3, 1.6},
	{"UDP over TCP, XDP", between("testrun", "xdp udp 64", "xdp tcp 64", "1"), result.Difference, 2, 2},
	{"SCTP with a port change over UDP, XDP, 64 bytes", between("testrun", "xdp sctp 64", "xdp udp 64", "1"), result.Difference, 15, 5},
	{"the same, 1500 bytes", between("testrun", "xdp sctp 1500", "xdp udp 1500", "1"), result.Difference, 15, 5},
	{"the same, 9000 bytes", between("testrun", "xdp sctp 9000", "xdp udp 9000", "1"), result.Difference, 15, 5},
	{"XDP, TCP, 10 000 flows, over its floor", ratio("testrun", "xdp tcp 64", "10000"), result.Multiple, none, 6},
	{"XDP, TCP, 60 000 flows, over its floor", ratio("testrun", "xdp tcp 64", "60000"), result.Multiple, none, 18},
	{"a packet for no VIP, XDP, over its floor", ratio("testrun", "xdp no-vip 64", "1"), result.Multiple, none, 2.5},
	{"chain over static redirect, 1 000 flows", against("chain", "weir-xdp", "1000"), result.Difference, 35, 15},
	{"chain over static redirect, 30 000 flows", against("chain", "weir-xdp", "30000"), result.Difference, 120, 55},
	// What those bounds were on the machine they were set on (docs/adr/0019).
	{"chain in multiples of static redirect, 1 000 flows", quotient("chain", "weir-xdp", "redirect-xdp", "1000"), result.Multiple, 1.28, 1.12},
	{"chain in multiples of static redirect, 30 000 flows", quotient("chain", "weir-xdp", "redirect-xdp", "30000"), result.Multiple, 2, 1.46},
	{"chain over one cache line, 1 000 flows", between("chain", "weir-xdp", "line-xdp", "1000"), result.Difference, none, none},
	{"chain over one cache line, 30 000 flows", between("chain", "weir-xdp", "line-xdp", "30000"), result.Difference, none, none},
	{"chain over one hash lookup, 1 000 flows", between("chain", "weir-xdp", "lookup-xdp", "1000"), result.Difference, none, none},
	{"chain over one hash lookup, 30 000 flows", between("chain", "weir-xdp", "lookup-xdp", "30000"), result.Difference, none, none},
	{"a new flow, XDP program alone, ns", value("testrun", "xdp new-flow 64", "10000"), result.Difference, none, 1000},
	{"a new flow, cold chain, over routing", against("new-flow", "weir-xdp", "20000"), result.Multiple, none, 2.3},
	{"the same, 10 000 services over 1", quotient("new-flow", "weir-xdp-10000", "weir-xdp", "20000"), result.Multiple, none, 1.1},
	{"new TCP connections, TC, of routing", against("connections", "weir-tc", "32"), result.Share, 90, 95},
	{"bulk TCP, TC, of routing", against("bulk", "weir-tc", "1"), result.Share, 90, 97},
	{"packets and requests that weir lost", lost, result.Difference, 0, 0},
}

// Targets is the table of targets and whether they are reached.
func Targets(r *result.Run) string {
	var b strings.Builder
	b.WriteString("| what | measured | first | goal |\n|---|---|---|---|\n")
	for _, t := range targets {
		x := t.measure(r)
		if math.IsNaN(x) {
			fmt.Fprintf(&b, "| %s | not in this run | | |\n", t.what)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", t.what, t.figure(x), t.judge(x, t.first), t.judge(x, t.goal))
	}
	return b.String()
}

func (t target) judge(x, bound float64) string {
	switch {
	case math.IsNaN(bound):
		return "measured"
	case t.meets(x, bound):
		return "reached: " + t.bound(bound)
	}
	return "**missed**: " + t.bound(bound)
}

func (t target) meets(x, bound float64) bool {
	if t.compare == result.Share {
		return x >= bound
	}
	return x <= bound
}

func (t target) bound(bound float64) string {
	sign := "<="
	if t.compare == result.Share {
		sign = ">="
	}
	if t.compare == result.Multiple {
		return fmt.Sprintf("%s %g x", sign, bound)
	}
	return sign + " " + t.figure(bound)
}

// figure is more precise than the tables' cells: it stands beside its bound.
func (t target) figure(x float64) string {
	if t.compare == result.Multiple {
		return fmt.Sprintf("%.2f x", x)
	}
	return compared(t.compare, x)
}

func ratio(section, subject, variant string) func(*result.Run) float64 {
	return against(section, subject, variant)
}

// against is a row compared with its baseline as its section does.
func against(section, subject, variant string) func(*result.Run) float64 {
	return func(r *result.Run) float64 {
		s, row := find(r, section, subject, variant)
		if row == nil {
			return none
		}
		base := s.Base(row)
		if base == nil {
			return none
		}
		return result.Of(result.Pairs(s.Compare, row, base)).Median
	}
}

// between is how much one subject costs over another.
func between(section, subject, other, variant string) func(*result.Run) float64 {
	return pair(section, subject, other, variant, result.Difference)
}

// quotient is one subject over another.
func quotient(section, subject, other, variant string) func(*result.Run) float64 {
	return pair(section, subject, other, variant, result.Multiple)
}

func pair(section, subject, other, variant string, c result.Compare) func(*result.Run) float64 {
	return func(r *result.Run) float64 {
		_, row := find(r, section, subject, variant)
		_, base := find(r, section, other, variant)
		if row == nil || base == nil {
			return none
		}
		return result.Of(result.Pairs(c, row, base)).Median
	}
}

func value(section, subject, variant string) func(*result.Run) float64 {
	return func(r *result.Run) float64 {
		_, row := find(r, section, subject, variant)
		if row == nil {
			return none
		}
		return result.Of(row.Values()).Median
	}
}

func find(r *result.Run, section, subject, variant string) (*result.Section, *result.Row) {
	s := r.Section(section)
	if s == nil {
		return nil, nil
	}
	return s, s.Row(subject, variant)
}

// lost sums what weir has lost in all sections.
func lost(r *result.Run) float64 {
	sum := uint64(0)
	for _, s := range r.Sections {
		for i := range s.Rows {
			if strings.HasPrefix(s.Rows[i].Subject, "weir") {
				n, _ := s.Rows[i].Lost()
				sum += n
			}
		}
	}
	return float64(sum)
}
