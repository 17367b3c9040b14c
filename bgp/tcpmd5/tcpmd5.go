// Package tcpmd5 tells how many TCP segments the kernel has refused for their
// MD5 signature (RFC 2385). To a speaker, a peer with another password looks
// like a peer that is not there; these counters tell the difference.
package tcpmd5

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Refused counts segments since the network namespace was made.
type Refused struct {
	// Wrong were signed, but not with our password.
	Wrong uint64
	// Unsigned came from a peer with a password, without a signature.
	Unsigned uint64
	// Unexpected were signed, and came from a peer without a password.
	Unexpected uint64
}

// Sub is what was refused after r was o.
func (r Refused) Sub(o Refused) Refused {
	return Refused{Wrong: r.Wrong - o.Wrong, Unsigned: r.Unsigned - o.Unsigned, Unexpected: r.Unexpected - o.Unexpected}
}

// file has the TCP counters of this process's network namespace.
const file = "/proc/self/net/netstat"

// Read reads the counters.
func Read() (Refused, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Refused{}, fmt.Errorf("read TCP counters: %w", err)
	}
	r, err := parse(string(text))
	if err != nil {
		return Refused{}, fmt.Errorf("read TCP counters of %s: %w", file, err)
	}
	return r, nil
}

// parse reads pairs of lines, of names and of values. A counter that the kernel
// does not have, because it is built without MD5, is zero.
func parse(text string) (Refused, error) {
	const prefix = "TcpExt:"
	var r Refused
	wanted := map[string]*uint64{
		"TCPMD5Failure": &r.Wrong, "TCPMD5NotFound": &r.Unsigned, "TCPMD5Unexpected": &r.Unexpected,
	}
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != prefix {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		if len(names) != len(fields) {
			return Refused{}, fmt.Errorf("%d names for %d values of %s", len(names), len(fields), prefix)
		}
		for i, name := range names {
			counter := wanted[name]
			if counter == nil {
				continue
			}
			var err error
			if *counter, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
				return Refused{}, fmt.Errorf("%s: %w", name, err)
			}
		}
		return r, nil
	}
	return Refused{}, fmt.Errorf("no %s in it", prefix)
}
