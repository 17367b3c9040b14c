package flow

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A walk rests twice as long as it worked, never longer than longestRest, and not at all
// once its context has ended.
func TestRests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		work, want time.Duration
		canceled   bool
	}{
		{"twice as long", 3 * time.Millisecond, 6 * time.Millisecond, false},
		{"after a wait", time.Second, longestRest, false},
		{"canceled", 3 * time.Millisecond, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.canceled {
					cancel()
				}
				r := newRests()
				for round := range 2 { // the second counts from the end of the first rest
					start := time.Now()
					for range entriesPerRest - 1 {
						r.next(ctx)
					}
					if rested := time.Since(start); rested != 0 {
						t.Errorf("round %d: it rested %v before %d entries", round, rested, entriesPerRest)
					}
					<-time.After(c.work)
					r.next(ctx)
					if rested := time.Since(start) - c.work; rested != c.want {
						t.Errorf("round %d: it rested %v after %v, want %v", round, rested, c.work, c.want)
					}
				}
			})
		})
	}
}
