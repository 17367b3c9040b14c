package doctor

import "fmt"

// Level is how bad a finding is.
type Level string

// The levels: Warn works and may surprise, Fail loses traffic or soon will.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Finding is what one check says; a check may find several things.
type Finding struct {
	// Check is its name, one of those in docs/operations.md.
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Seen is what is so, in one line.
	Seen string `json:"seen"`
	// Do is what to do, in one line; empty where all is well.
	Do string `json:"do,omitempty"`
}

// check collects the findings of one check.
type check struct {
	name     string
	findings []Finding
}

func (c *check) add(l Level, do, format string, args ...any) {
	c.findings = append(c.findings, Finding{Check: c.name, Level: l, Seen: fmt.Sprintf(format, args...), Do: do})
}

func (c *check) warn(do, format string, args ...any) { c.add(Warn, do, format, args...) }
func (c *check) fail(do, format string, args ...any) { c.add(Fail, do, format, args...) }

// note says that something is well.
func (c *check) note(format string, args ...any) { c.add(OK, "", format, args...) }

// otherwise is note where the check found nothing.
func (c *check) otherwise(format string, args ...any) {
	if len(c.findings) == 0 {
		c.note(format, args...)
	}
}

// checks are all there are, in the order in which a person looks: the machine,
// its interfaces, the ways of packets, weir itself.
var checks = []struct {
	name  string
	judge func(*check, Facts)
}{
	{"kernel", kernel},
	{"rights", rights},
	{"forwarding", forwarding},
	{"clock", clock},
	{"weir", daemon},
	{"interfaces", interfaces},
	{"programs", programs},
	{"offloads", offloads},
	{"rp-filter", reversePath},
	{"mtu", mtu},
	{"vips", vips},
	{"services", services},
	{"backends", backends},
	{"bgp", sessions},
}

// Examine judges f. Every check has at least one finding.
func Examine(f Facts) []Finding {
	var all []Finding
	for _, c := range checks {
		into := &check{name: c.name}
		c.judge(into, f)
		all = append(all, into.findings...)
	}
	return all
}

// Worst is the level of the worst finding.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		switch f.Level {
		case Fail:
			return Fail
		case Warn:
			worst = Warn
		}
	}
	return worst
}
