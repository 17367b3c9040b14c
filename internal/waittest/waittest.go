// Package waittest waits in tests for what comes true by itself: it looks again
// and again until a deadline, and sleeps for nothing.
package waittest

import (
	"testing"
	"time"
)

// Deadline is how long all of them wait.
const Deadline = 10 * time.Second

// Eventually asks again and again until problem returns an empty string, and
// fails the test with the last problem at the deadline.
func Eventually(t testing.TB, problem func() string) {
	t.Helper()
	deadline := time.NewTimer(Deadline)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		last := problem()
		if last == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("after %v: %s", Deadline, last)
		}
	}
}

// Until is Eventually for what holds or does not; what names it.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Eventually(t, func() string {
		if holds() {
			return ""
		}
		return "not yet: " + what
	})
}
