package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// Failure is a request of a burst that got no answer, or a wrong one.
type Failure struct {
	Index  int    `json:"index"`  // which request, from 0
	Reason string `json:"reason"` // one of a few words, for counting: timeout, refused, ...
	Error  string `json:"error"`
}

// Result is what became of a burst of requests.
type Result struct {
	Requests  int             `json:"requests"`
	Backends  map[string]int  `json:"backends"` // answers by the server's name
	Failures  []Failure       `json:"failures,omitempty"`
	Answers   []Answer        `json:"answers,omitempty"` // in the order of the requests, without the lost ones
	Latencies []time.Duration `json:"-"`                 // of the answers, ascending
	Elapsed   time.Duration   `json:"elapsedNs"`
}

// Spread sends the same request n times, at most parallel at once.
func (c *Client) Spread(ctx context.Context, r Request, n, parallel int) Result {
	return c.Burst(ctx, n, parallel, func(int) Request { return r })
}

// Burst sends n requests, the i-th being request(i), at most parallel at once. Requests that ctx's end prevents are
// failures too. request is called from several goroutines.
func (c *Client) Burst(ctx context.Context, n, parallel int, request func(i int) Request) Result {
	start := time.Now()
	answers, errs := make([]Answer, n), make([]error, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(max(parallel, 1), n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				answers[i], errs[i] = c.Do(ctx, request(i))
			}
		})
	}
	workers.Wait()
	result := Result{Requests: n, Backends: map[string]int{}, Elapsed: time.Since(start)}
	for i, err := range errs {
		if err != nil {
			result.Failures = append(result.Failures, Failure{i, Reason(err), err.Error()})
			continue
		}
		result.Backends[answers[i].Backend]++
		result.Answers = append(result.Answers, answers[i])
		result.Latencies = append(result.Latencies, answers[i].RTT)
	}
	slices.Sort(result.Latencies)
	return result
}

// Lost is the number of requests without a right answer.
func (r Result) Lost() int { return len(r.Failures) }

// Share is the part of all answers that the backend gave, 0 to 1.
func (r Result) Share(backend string) float64 {
	if len(r.Latencies) == 0 {
		return 0
	}
	return float64(r.Backends[backend]) / float64(len(r.Latencies))
}

// Percentile is the latency that p per cent of the answers did not exceed.
func (r Result) Percentile(p float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(float64(len(r.Latencies))*p/100), len(r.Latencies)-1)]
}

// Reasons counts the failures by reason.
func (r Result) Reasons() map[string]int {
	reasons := map[string]int{}
	for _, f := range r.Failures {
		reasons[f.Reason]++
	}
	return reasons
}

// String is a line of counts, and one for the first failure.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d answered, %d lost in %s", r.Requests, len(r.Latencies), r.Lost(), r.Elapsed.Round(time.Millisecond))
	for _, name := range slices.Sorted(maps.Keys(r.Backends)) {
		fmt.Fprintf(&b, "; %s %d", name, r.Backends[name])
	}
	if len(r.Latencies) > 0 {
		fmt.Fprintf(&b, "; latency p50 %s p99 %s", r.Percentile(50).Round(10*time.Microsecond), r.Percentile(99).Round(10*time.Microsecond))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons())) {
		fmt.Fprintf(&b, "; %s %d", reason, r.Reasons()[reason])
	}
	if len(r.Failures) > 0 {
		fmt.Fprintf(&b, "\nfirst failure, request %d: %s", r.Failures[0].Index, strings.ReplaceAll(r.Failures[0].Error, "\n", "; "))
	}
	return b.String()
}

// reasons are looked up in this order: an unreachable network also ends in a timeout.
var reasons = []struct {
	err  error
	word string
}{
	{ErrWrongAnswer, "wrong answer"},
	{syscall.ECONNREFUSED, "refused"},
	{syscall.ECONNRESET, "reset"},
	{syscall.EPIPE, "reset"},
	{rawsctp.ErrAborted, "aborted"},
	{syscall.EHOSTUNREACH, "unreachable"},
	{syscall.ENETUNREACH, "unreachable"},
	{syscall.EADDRINUSE, "source taken"},
	{syscall.EADDRNOTAVAIL, "source taken"},
	{rawsctp.ErrPortTaken, "source taken"},
	{context.Canceled, "cancelled"},
	{context.DeadlineExceeded, "timeout"},
	{os.ErrDeadlineExceeded, "timeout"},
	{io.EOF, "closed early"},
	{io.ErrUnexpectedEOF, "closed early"},
}

// Reason is the error of a request in a word or two.
func Reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	if netErr := net.Error(nil); errors.As(err, &netErr) && netErr.Timeout() {
		return "timeout"
	}
	return "error"
}
