package v1

import (
	"fmt"
	"strings"
	"time"
)

// ProbeType is how a backend is asked.
type ProbeType string

// The types of a probe. Of the first three a service has its protocol's,
// unless it asks for another.
const (
	ProbeTCP   ProbeType = "tcp"
	ProbeUDP   ProbeType = "udp"
	ProbeSCTP  ProbeType = "sctp"
	ProbeHTTP  ProbeType = "http"
	ProbeHTTPS ProbeType = "https"
	ProbePing  ProbeType = "ping"
)

// ProbeSpec says how the backends of a service with Monitor are asked. A zero
// field means what the node does by default, weir's --probe flags.
type ProbeSpec struct {
	// Type is "tcp", "udp", "sctp", "http", "https" or "ping". Optional; empty
	// means the service's protocol.
	Type ProbeType `json:"type,omitempty"`
	// Port that is asked at the backend's address. Optional; zero means the
	// backend's own. A ping has none.
	Port uint16 `json:"port,omitempty"`
	// Request is the path that http and https ask for, "/" by default, and
	// what a udp probe sends. Optional; the other types send nothing.
	Request string `json:"request,omitempty"`
	// Expect is what the body of an http or https answer, or the answer to a
	// udp probe, must contain. Optional; by default a status below 400 is
	// healthy, and so is a silent UDP server.
	Expect string `json:"expect,omitempty"`
	// PeriodMilliseconds is between two probes, 100 to 86400000. Optional.
	PeriodMilliseconds uint32 `json:"periodMilliseconds,omitempty"`
	// TimeoutMilliseconds is how long an answer may take, 10 at least and the
	// period at most. Optional.
	TimeoutMilliseconds uint32 `json:"timeoutMilliseconds,omitempty"`
	// Failures is how many failed probes in a row take a backend out, 1 to
	// 101: one more than the retries. Optional.
	Failures uint16 `json:"failures,omitempty"`
}

// Bounds of a ProbeSpec, and of the flags that stand in for it.
const (
	MinProbePeriod   = 100 * time.Millisecond
	MaxProbePeriod   = 24 * time.Hour // LoxiLB's
	MinProbeTimeout  = 10 * time.Millisecond
	MaxProbeFailures = 101 // LoxiLB's 100 retries
	// MaxProbeText bounds Request and Expect, in bytes: a datagram that is
	// never cut to fragments.
	MaxProbeText = 1024
)

// Period is zero for the node's default.
func (p ProbeSpec) Period() time.Duration {
	return time.Duration(p.PeriodMilliseconds) * time.Millisecond
}

// Timeout is zero for the node's default.
func (p ProbeSpec) Timeout() time.Duration {
	return time.Duration(p.TimeoutMilliseconds) * time.Millisecond
}

// ValidateProbe returns nil, or a *FieldError for the first field of p that
// cannot be, its path relative to p. The protocol is the service's.
func ValidateProbe(p ProbeSpec, protocol Protocol) error {
	if err := validateProbe(p, protocol); err != nil {
		return err
	}
	return nil
}

func validateProbe(p ProbeSpec, protocol Protocol) *FieldError {
	kind := p.Type
	if kind == "" {
		kind = ProbeType(protocol)
	}
	if err := validateProbeText(p, kind); err != nil {
		return err
	}
	period, timeout := p.Period(), p.Timeout()
	switch {
	case kind == ProbePing && p.Port != 0:
		return &FieldError{"port", fmt.Sprintf("a ping has no port; remove %d", p.Port)}
	case period != 0 && (period < MinProbePeriod || period > MaxProbePeriod):
		return &FieldError{"periodMilliseconds", fmt.Sprintf("%v is not within %v to %v", period, MinProbePeriod, MaxProbePeriod)}
	case timeout != 0 && timeout < MinProbeTimeout:
		return &FieldError{"timeoutMilliseconds", fmt.Sprintf("%v is under %v", timeout, MinProbeTimeout)}
	case timeout > MaxProbePeriod || period != 0 && timeout > period:
		return &FieldError{"timeoutMilliseconds", fmt.Sprintf("%v is longer than the period; make it shorter", timeout)}
	case p.Failures > MaxProbeFailures:
		return &FieldError{"failures", fmt.Sprintf("%d is over %d", p.Failures, MaxProbeFailures)}
	}
	return nil
}

func validateProbeText(p ProbeSpec, kind ProbeType) *FieldError {
	switch kind {
	case ProbeHTTP, ProbeHTTPS:
		if p.Request != "" && !strings.HasPrefix(p.Request, "/") {
			return &FieldError{"request", fmt.Sprintf("%q is no path; begin with /", p.Request)}
		}
		if strings.ContainsFunc(p.Request, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return &FieldError{"request", fmt.Sprintf("%q has blanks; write them as %%20", p.Request)}
		}
	case ProbeUDP:
	case ProbeTCP, ProbeSCTP, ProbePing:
		if p.Request != "" {
			return &FieldError{"request", fmt.Sprintf("a %s probe sends nothing; use type http, https or udp, or remove it", kind)}
		}
		if p.Expect != "" {
			return &FieldError{"expect", fmt.Sprintf("a %s probe reads nothing; use type http, https or udp, or remove it", kind)}
		}
	default:
		return &FieldError{"type", fmt.Sprintf("unknown probe %q, use tcp, udp, sctp, http, https or ping", kind)}
	}
	for _, text := range []struct{ field, value string }{{"request", p.Request}, {"expect", p.Expect}} {
		if len(text.value) > MaxProbeText {
			return &FieldError{text.field, fmt.Sprintf("%d bytes, at most %d", len(text.value), MaxProbeText)}
		}
	}
	return nil
}
