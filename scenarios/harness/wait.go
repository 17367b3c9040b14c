package harness

import (
	"context"
	"time"

	"github.com/onsi/gomega"
)

// Deadlines of what polls. Success is quick; a noisy machine may need long.
const (
	// Patience is how long Soon waits.
	Patience = 20 * time.Second
	// polling is how often it looks.
	polling = 30 * time.Millisecond
)

// Soon expects something to come true within Patience. actual is a value or a
// function of a context, as Gomega's Eventually takes them.
func Soon(ctx context.Context, actual any) gomega.AsyncAssertion {
	return gomega.Eventually(ctx, actual).WithTimeout(Patience).WithPolling(polling)
}

// Holds expects something to stay true for so long: "not announced" needs a
// time for which one has looked.
func Holds(ctx context.Context, d time.Duration, actual any) gomega.AsyncAssertion {
	return gomega.Consistently(ctx, actual).WithTimeout(d).WithPolling(polling)
}
