// Package probe is the traffic of scenarios: small servers that say who they are and whom they saw, and clients that
// count the answers, for HTTP, TCP, UDP and SCTP. README.md beside this file has examples.
//
// Sockets are the kernel's, but for SCTP (package rawsctp). Every socket can be opened in a network namespace of the
// caller's choice, so one process can be all the machines of a topology.
package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Enter runs a function with the calling thread in a network namespace; netns.NetNS's method Do is one. The sockets
// that the function opens stay in that namespace. nil is the caller's own namespace.
type Enter func(func() error) error

// run calls f in the namespace.
func (e Enter) run(f func() error) error {
	if e == nil {
		return f()
	}
	return e(f)
}

// Protocol is what a server or client speaks.
type Protocol string

// The protocols, in the order in which they are printed.
const (
	HTTP Protocol = "http"
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// Protocols lists all of them.
func Protocols() []Protocol { return []Protocol{HTTP, TCP, UDP, SCTP} }

// ErrWrongAnswer is returned when an answer came that is not what the server should have said.
var ErrWrongAnswer = errors.New("wrong answer")

// Answer is who served a request and how the two ends saw each other.
type Answer struct {
	Backend    string         `json:"backend"`    // the server's name
	SeenClient netip.AddrPort `json:"seenClient"` // the client as the server sees it, after NAT
	Local      netip.AddrPort `json:"local"`      // the client as it sees itself
	Remote     netip.AddrPort `json:"remote"`     // what the client asked
	RTT        time.Duration  `json:"rttNs"`      // from opening the connection to the last byte of the answer
}

// String is one line for a person.
func (a Answer) String() string {
	return fmt.Sprintf("%s -> %s answered by %s, which saw %s, in %s",
		a.Local, a.Remote, a.Backend, a.SeenClient, a.RTT.Round(10*time.Microsecond))
}

// greet is how every server but HTTP's begins its answers.
func greet(name string, client netip.AddrPort) []byte {
	return fmt.Appendf(nil, "%s %s\n", name, netip.AddrPortFrom(client.Addr().Unmap(), client.Port()))
}

// readGreeting takes a greeting line, with or without its end, apart.
func (a *Answer) readGreeting(line string) error {
	name, addr, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !ok || name == "" {
		return fmt.Errorf("%w: %q is no greeting", ErrWrongAnswer, line)
	}
	seen, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("%w: greeting %q: %w", ErrWrongAnswer, line, err)
	}
	a.Backend, a.SeenClient = name, seen
	return nil
}
