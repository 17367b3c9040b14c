package health

import (
	"fmt"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Timing says how often endpoints are asked. The zero value means Defaults;
// else all fields but Retries must be set.
type Timing struct {
	// Period is between the starts of two probes of an endpoint whose state
	// is settled, less a tenth at random.
	Period time.Duration
	// Timeout is how long an answer may take. Silence costs that long.
	Timeout time.Duration
	// Retries is how many failures in a row, after the first, are forgiven
	// before an endpoint is down. They follow each other faster than Period.
	Retries int
}

const (
	// DefaultPeriod finds a dead endpoint before most users reload a page.
	// At a probe of three packets it costs a backend less than one packet a
	// second for each node that asks.
	DefaultPeriod = 5 * time.Second
	// DefaultTimeout is the first retransmission of TCP (RFC 6298, 2.1): what
	// takes longer has lost a packet, and the retry is ours.
	DefaultTimeout = time.Second
	// DefaultRetries rides out two lost packets in a row. With the defaults
	// a dead endpoint is down after 9 s at most, within Retries x Period.
	DefaultRetries = 2

	// rise is how many successes in a row bring an endpoint back: one may be
	// a server that starts and dies again.
	rise = 2
)

// Defaults of the product.
var Defaults = Timing{Period: DefaultPeriod, Timeout: DefaultTimeout, Retries: DefaultRetries}

// with returns what a service asks for, and t where it asks for nothing.
func (t Timing) with(s v1.ProbeSpec) Timing {
	if p := s.Period(); p != 0 {
		t.Period, t.Timeout = p, min(t.Timeout, p)
	}
	if w := s.Timeout(); w != 0 {
		t.Period, t.Timeout = max(t.Period, w), w
	}
	if s.Failures != 0 {
		t.Retries = int(s.Failures) - 1
	}
	return t
}

// Check says what a person must change in a Timing.
func (t Timing) Check() error {
	switch {
	case t.Period < v1.MinProbePeriod || t.Period > v1.MaxProbePeriod:
		return fmt.Errorf("period %v is not within %v to %v", t.Period, v1.MinProbePeriod, v1.MaxProbePeriod)
	case t.Timeout < v1.MinProbeTimeout || t.Timeout > t.Period:
		return fmt.Errorf("time-out %v is not within %v to the period, %v", t.Timeout, v1.MinProbeTimeout, t.Period)
	case t.Retries < 0 || t.Retries >= v1.MaxProbeFailures:
		return fmt.Errorf("%d retries are not within 0 to %d", t.Retries, v1.MaxProbeFailures-1)
	}
	return nil
}

// pause is between the end of a result that puts the state in doubt and the
// probe that settles it.
func (t Timing) pause() time.Duration { return t.Timeout / 2 }

// Detection bounds the time from an endpoint's death to its verdict.
func (t Timing) Detection() time.Duration {
	failures := time.Duration(t.Retries + 1)
	return t.Period + failures*t.Timeout + (failures-1)*t.pause()
}

// within is how long a new endpoint waits at most to be asked: soon, but a
// thousand new ones do not ask at once.
func (t Timing) within() time.Duration { return min(t.Period/10, DefaultPeriod) }

// first returns when a new endpoint is asked; random is in [0, 1).
func (t Timing) first(now time.Time, random float64) time.Time {
	return now.Add(share(t.within(), random))
}

// next returns when an endpoint is asked again after the nth probe. The second
// one comes at a random point of the period, so that endpoints which came
// together part.
func (t Timing) next(v verdict, nth int, started, ended time.Time, random float64) time.Time {
	due := started.Add(t.Period - share(t.Period/10, random))
	switch {
	case v.inDoubt():
		due = ended.Add(t.pause())
	case nth == 1:
		due = started.Add(share(t.Period, random))
	}
	if due.Before(ended) {
		return ended
	}
	return due
}

func share(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * random)
}
