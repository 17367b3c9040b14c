package endtoend

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-lb/weir/bench/result"
)

func TestReadWrk(t *testing.T) {
	const good = `Running 2s test @ http://203.0.113.1:80/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms    1.50ms  22.35ms   90.42%
    Req/Sec    26.10k     1.93k   29.11k    65.00%
  52012 requests in 2.00s, 8.43MB read
Requests/sec:  26002.61
Transfer/sec:      4.21MB
`
	const bad = `  90 requests in 2.00s, 8.43MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:     45.00
`
	for out, want := range map[string]result.Sample{
		good: {Value: 26002.61, Sent: 52012},
		bad:  {Value: 45, Sent: 105, Lost: 15},
	} {
		got, err := readWrk(out)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
	if _, err := readWrk("unable to connect to 203.0.113.1:80 Connection refused\n"); err == nil {
		t.Error("a failed run has a rate")
	}
}

func TestReadIperf(t *testing.T) {
	got, err := readIperf([]byte(`{"start": {}, "end": {"sum_sent": {"bits_per_second": 14e9}, "sum_received": {"bytes": 3000, "bits_per_second": 13.5e9}}}`))
	if err != nil || got.Value != 13.5 || got.Sent != 3000 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{`{"error": "unable to connect", "end": {}}`, `{"end": {}}`, `nothing`} {
		if got, err := readIperf([]byte(bad)); err == nil {
			t.Errorf("%s gives %+v", bad, got)
		}
	}
}

func TestSNMP(t *testing.T) {
	const text = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm InSegs InCsumErrors\nTcp: 1 20 3\n"
	if n, err := snmp(text, "Tcp", "InCsumErrors"); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := snmp(text, "Udp", "InCsumErrors"); err == nil {
		t.Error("a protocol that is not there has a value")
	}
}
