// Package endtoend measures what users see: new TCP connections, requests over one
// connection and bulk transfers, by wrk and iperf3 of the client and nginx and
// iperf3 of the server. All of it shares the machine's CPUs.
package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/result"
)

// Seconds says how long each measurement lasts.
type Seconds int

// Connections opens a connection for each request, 32 at a time; the server closes.
func (s Seconds) Connections(ctx context.Context, l *lab.Lab) (result.Sample, error) {
	return s.wrk(ctx, l, "-c32", "-t1", "-H", "Connection: close")
}

// Requests asks over one connection, one request after the other.
func (s Seconds) Requests(ctx context.Context, l *lab.Lab) (result.Sample, error) {
	return s.wrk(ctx, l, "-c1", "-t1")
}

func (s Seconds) wrk(ctx context.Context, l *lab.Lab, args ...string) (result.Sample, error) {
	args = append(args, fmt.Sprintf("-d%d", s), fmt.Sprintf("http://%s:%d/", lab.VIP, lab.PortHTTP))
	var sample result.Sample
	err := through(l, func() error {
		out, err := l.Node("client").Run(ctx, "wrk", args...)
		if err != nil {
			return err
		}
		sample, err = readWrk(out)
		return err
	})
	return sample, err
}

var (
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkErrors   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// readWrk reads what wrk prints. Requests that failed in any way are lost.
func readWrk(out string) (result.Sample, error) {
	rate, requests := wrkRate.FindStringSubmatch(out), wrkRequests.FindStringSubmatch(out)
	if rate == nil || requests == nil {
		return result.Sample{}, fmt.Errorf("read wrk's rate: %q", out)
	}
	var s result.Sample
	var err error
	if s.Value, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return result.Sample{}, fmt.Errorf("read wrk's rate: %w", err)
	}
	if s.Sent, err = strconv.ParseUint(requests[1], 10, 64); err != nil {
		return result.Sample{}, fmt.Errorf("read wrk's requests: %w", err)
	}
	for _, found := range [][]string{wrkErrors.FindStringSubmatch(out), wrkStatus.FindStringSubmatch(out)} {
		for _, n := range found[min(1, len(found)):] {
			lost, err := strconv.ParseUint(n, 10, 64)
			if err != nil {
				return result.Sample{}, fmt.Errorf("read wrk's errors: %w", err)
			}
			s.Lost += lost
		}
	}
	s.Sent += s.Lost
	return s, nil
}

// Bulk sends to the server as much as TCP can over one connection; the result is in
// Gbit/s.
func (s Seconds) Bulk(ctx context.Context, l *lab.Lab) (result.Sample, error) {
	var sample result.Sample
	err := through(l, func() error {
		out, err := l.Node("client").Run(ctx, "iperf3", "-c", lab.VIP.String(), "-p", strconv.Itoa(lab.PortIperf),
			"-t", strconv.Itoa(int(s)), "-J", "--connect-timeout", "3000")
		if err != nil {
			return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(out), " "))
		}
		sample, err = readIperf([]byte(out))
		return err
	})
	return sample, err
}

// readIperf reads what the receiver got.
func readIperf(out []byte) (result.Sample, error) {
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Bits  float64 `json:"bits_per_second"`
				Bytes uint64  `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return result.Sample{}, fmt.Errorf("read iperf3's report: %w", err)
	}
	if report.Error != "" || report.End.Received.Bits == 0 {
		return result.Sample{}, fmt.Errorf("read iperf3's report: it received nothing: %s", report.Error)
	}
	return result.Sample{Value: report.End.Received.Bits / 1e9, Sent: report.End.Received.Bytes}, nil
}

// through runs f and holds the lab to what it is to be: with weir the packets went
// through weir, and nowhere did a wrong checksum arrive.
func through(l *lab.Lab, f func() error) error {
	before, err := l.Forwarded()
	if err != nil {
		return err
	}
	wrong, err := wrongChecksums(l)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := l.Forwarded()
	if err != nil {
		return err
	}
	if l.Balancer.IsWeir() && after == before {
		return fmt.Errorf("weir is not in the chain: it forwarded nothing at %s", l.Balancer.Hook)
	}
	now, err := wrongChecksums(l)
	if err == nil && now != wrong {
		err = fmt.Errorf("%d segments with a wrong checksum arrived", now-wrong)
	}
	return err
}
