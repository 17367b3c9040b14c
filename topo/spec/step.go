package spec

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// Step is one thing that `weir-topo run` shows of a running topology: a
// command, what its output must say, and what that proves.
type Step struct {
	// Title is one line. Proves says, in a sentence, what a reader learns.
	Title  string `yaml:"title"`
	Proves string `yaml:"proves"`
	// Node is where Run runs; a command line as Process.Command is.
	Node string `yaml:"node"`
	Run  string `yaml:"run"`
	// Expect are regular expressions (RE2, multi-line mode) that all match
	// the output; Reject are some that do not. The command is repeated until
	// both hold or Within has passed.
	Expect []string `yaml:"expect"`
	Reject []string `yaml:"reject"`
	// Within is optional; zero means DefaultStepTimeout.
	Within time.Duration `yaml:"within"`
	// Trace also shows one packet of the command's traffic on every hop.
	// Optional.
	Trace *Trace `yaml:"trace"`
}

// DefaultStepTimeout is how long a step may take until its output is right.
const DefaultStepTimeout = 30 * time.Second

// Trace follows the first packet that Node sends to Target, and the first that
// comes back, through Interfaces.
type Trace struct {
	// Target is an address and port, Protocol tcp, udp or sctp.
	Target   string `yaml:"target"`
	Protocol string `yaml:"protocol"`
	// Interfaces in the order of the way; the first is the sender's own.
	Interfaces []Endpoint `yaml:"interfaces"`
	// Hops is how many sightings there must be each way at least.
	Hops int `yaml:"hops"`
}

// traceable are the protocols that a trace can follow.
var traceable = []string{"tcp", "udp", "sctp"}

func (c *checker) step(at string, s Step) {
	if s.Title == "" {
		c.report(at+".title", "is missing")
	}
	if c.page.Nodes[s.Node] == nil {
		c.report(at+".node", "there is no node %q", s.Node)
	}
	if words, err := SplitCommand(s.Run); err != nil || len(words) == 0 {
		c.report(at+".run", "%q is no command", s.Run)
	}
	if len(s.Expect)+len(s.Reject) == 0 {
		c.report(at+".expect", "is missing: a step that expects nothing cannot fail")
	}
	for i, e := range s.Expect {
		c.pattern(fmt.Sprintf("%s.expect[%d]", at, i), e)
	}
	for i, e := range s.Reject {
		c.pattern(fmt.Sprintf("%s.reject[%d]", at, i), e)
	}
	if s.Trace != nil {
		c.trace(at+".trace", *s.Trace)
	}
}

func (c *checker) pattern(at, expression string) {
	if _, err := Pattern(expression); err != nil {
		c.report(at, "%v", err)
	}
}

func (c *checker) trace(at string, t Trace) {
	if _, err := netip.ParseAddrPort(t.Target); err != nil {
		c.report(at+".target", "%q is no address:port", t.Target)
	}
	if !slices.Contains(traceable, t.Protocol) {
		c.report(at+".protocol", "unknown protocol %q, use one of %v", t.Protocol, traceable)
	}
	if len(t.Interfaces) == 0 {
		c.report(at+".interfaces", "there are none")
	}
	for i, e := range t.Interfaces {
		if c.page.Nodes[e.Node] == nil {
			c.report(fmt.Sprintf("%s.interfaces[%d]", at, i), "there is no node %q", e.Node)
		}
	}
}

// Pattern compiles an expression of a step: ^ and $ are the ends of a line.
func Pattern(expression string) (*regexp.Regexp, error) {
	return regexp.Compile("(?m)" + expression)
}
