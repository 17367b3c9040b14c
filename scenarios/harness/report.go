package harness

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
)

// report is what a person reads of a failure, in one screen: what was meant,
// what came instead, where the packets went, what the daemons said, what else
// there is to look at, and how to do it again.
type report struct {
	intent   string
	step     string // "" where the spec failed outside of a step
	failedAt string
	failure  string // expected and got

	topologies []topologyReport
	again      string // command that runs the spec again
	keep       string // optional: command that runs it again and leaves the topology
}

// topologyReport is the part of one topology.
type topologyReport struct {
	name      string
	nodes     []nodeDelta
	links     []linkDelta
	logs      []logTail
	artifacts string   // folder
	files     []string // in it
	shell     []string // commands for a topology that was kept
	problems  []string // what could not be collected
}

// logTail is the end of a daemon's log.
type logTail struct {
	process string
	ended   bool
	lines   []string
}

// Limits that keep a report on a screen.
const (
	maxFailureLines = 30
	maxLinks        = 16
	maxLogLines     = 20
	maxLineLength   = 160
)

// String lays the report out.
func (r report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nintent   %s\nstep     %s\nfailed   %s\n", r.intent, cmp.Or(r.step, "before the first step"), r.failedAt)
	section(&b, "expected and got", clipLines(r.failure, maxFailureLines))
	for _, t := range r.topologies {
		t.write(&b)
	}
	section(&b, "again", []string{r.again})
	if r.keep != "" {
		section(&b, "again, and look around in the topology that stays", []string{r.keep})
	}
	return b.String()
}

func (t topologyReport) write(b *strings.Builder) {
	section(b, "packets since the step began, "+t.name, t.counters())
	for _, l := range t.logs {
		title := "warnings of " + l.process
		if l.ended {
			title = l.process + " has ended; its last lines"
		}
		section(b, title, l.lines)
	}
	section(b, "not collected", t.problems)
	if len(t.files) > 0 {
		section(b, "artifacts in "+t.artifacts, wrap(t.files, 110))
	}
	section(b, "the topology stands", t.shell)
}

// counters is the table of where packets went.
func (t topologyReport) counters() []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(t.nodes) > 0 {
		fmt.Fprintln(w, "weir on\tin\tforwarded\tpassed\tdropped")
	}
	for _, n := range t.nodes {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", n.node, n.in, n.forwarded, n.passed, drops(n))
	}
	_ = w.Flush() // into memory
	fmt.Fprintln(w, "link\treceived\tsent\tdropped at receiving\tdropped at sending")
	for i, l := range t.links {
		if i == maxLinks {
			fmt.Fprintf(w, "%d more\t\t\t\t\n", len(t.links)-i)
			break
		}
		fmt.Fprintf(w, "%s:%s\t%d\t%d\t%d\t%d\n", l.node, l.iface, l.rx, l.tx, l.rxDrop, l.txDrop)
	}
	_ = w.Flush()
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(t.links) == 0 {
		lines = append(lines, "no interface saw a packet")
	}
	return lines
}

func drops(n nodeDelta) string {
	if len(n.drops) == 0 {
		return "0"
	}
	var all []string
	for _, d := range n.drops {
		all = append(all, fmt.Sprintf("%s %d", d.Reason, d.Count))
	}
	return strings.Join(all, ", ")
}

// section writes a title and indented lines; without lines, nothing.
func section(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "  %s\n", strings.TrimRight(clip(l), " "))
	}
}

func clipLines(text string, n int) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > n {
		lines = append(lines[:n], fmt.Sprintf("... %d more lines", len(lines)-n))
	}
	return lines
}

func clip(line string) string {
	if r := []rune(line); len(r) > maxLineLength {
		return string(r[:maxLineLength]) + "..."
	}
	return line
}

// wrap sets words side by side in lines of at most width, but for a longer word.
func wrap(words []string, width int) []string {
	var lines []string
	for _, w := range words {
		if n := len(lines); n > 0 && len(lines[n-1])+2+len(w) <= width {
			lines[n-1] += "  " + w
			continue
		}
		lines = append(lines, w)
	}
	return lines
}
