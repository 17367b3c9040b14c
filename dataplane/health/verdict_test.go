package health

import (
	"strings"
	"testing"
	"time"
)

// Results are + and -; the states after each are U (up), u (up, in doubt), D
// and d.
func TestVerdict(t *testing.T) {
	tests := []struct {
		name    string
		retries int
		results string
		want    string
	}{
		{"healthy from the start", 2, "+++", "UUU"},
		{"down after the retries", 2, "---", "uuD"},
		{"down at once without retries", 0, "-", "D"},
		{"a success between failures starts the count anew", 2, "--+--+", "uuUuuU"},
		{"stays down", 2, "-----", "uuDDD"},
		{"back after two successes", 2, "---++", "uuDdU"},
		{"one success is not enough", 2, "---+-+-", "uuDdDdD"},
		{"all retries again after it came back", 2, "---++---", "uuDdUuuD"},
		{"a failing minute", 1, "-+-+--+-++-", "uUuUuDdDdUu"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v verdict
			var got strings.Builder
			for _, result := range tt.results {
				v = v.after(result == '+', tt.retries)
				letter := "U"
				if v.down {
					letter = "D"
				}
				if v.inDoubt() {
					letter = strings.ToLower(letter)
				}
				got.WriteString(letter)
			}
			if got.String() != tt.want {
				t.Errorf("%s gives %s, want %s", tt.results, got.String(), tt.want)
			}
		})
	}
}

func TestNext(t *testing.T) {
	timing := Timing{Period: 5 * time.Second, Timeout: time.Second, Retries: 2}
	started := time.Unix(1000, 0)
	tests := []struct {
		name    string
		verdict verdict
		nth     int
		took    time.Duration
		random  float64
		want    time.Duration // after started
	}{
		{"a period after the start, whatever the probe took", verdict{}, 5, 700 * time.Millisecond, 0, 5 * time.Second},
		{"less a tenth at most", verdict{}, 5, 0, 0.999999, 4500*time.Millisecond + 500},
		{"the second anywhere in the period", verdict{}, 1, 0, 0.25, 1250 * time.Millisecond},
		{"but not before the first has ended", verdict{}, 1, time.Second, 0.1, time.Second},
		{"a failure is repeated soon", verdict{against: 1}, 5, time.Second, 0, 1500 * time.Millisecond},
		{"also the very first", verdict{against: 1}, 1, time.Second, 0, 1500 * time.Millisecond},
		{"so is a success of one that is down", verdict{down: true, against: 1}, 9, 0, 0.5, 500 * time.Millisecond},
		{"one that stays down is asked every period", verdict{down: true}, 9, time.Second, 0, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := timing.next(tt.verdict, tt.nth, started, started.Add(tt.took), tt.random).Sub(started)
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// The promise of the defaults.
func TestDetectionIsWithinRetriesTimesPeriod(t *testing.T) {
	if got, want := Defaults.Detection(), DefaultRetries*DefaultPeriod; got > want {
		t.Errorf("a dead endpoint is down after %v, want %v at most", got, want)
	}
}
