package v1

import (
	"strings"
	"testing"
)

func TestValidateProbe(t *testing.T) {
	long := strings.Repeat("x", MaxProbeText+1)
	for _, tt := range []struct {
		name     string
		protocol Protocol
		probe    ProbeSpec
		want     string // the error, empty for none
	}{
		{"defaults of tcp", TCP, ProbeSpec{}, ""},
		{"defaults of udp", UDP, ProbeSpec{}, ""},
		{"defaults of sctp", SCTP, ProbeSpec{}, ""},
		{"another port of another protocol", UDP, ProbeSpec{Type: ProbeTCP, Port: 8080}, ""},
		{"a path and a word", TCP, ProbeSpec{Type: ProbeHTTPS, Request: "/healthz?a=b", Expect: "ok"}, ""},
		{"a question and its answer", UDP, ProbeSpec{Request: "who are you\n", Expect: "I"}, ""},
		{"all numbers at their bounds", TCP, ProbeSpec{PeriodMilliseconds: 100, TimeoutMilliseconds: 100, Failures: 101}, ""},
		{"the longest period", TCP, ProbeSpec{Type: ProbePing, PeriodMilliseconds: 86400000, TimeoutMilliseconds: 10, Failures: 1}, ""},
		{"an unknown type", TCP, ProbeSpec{Type: "htttp"}, `type: unknown probe "htttp", use tcp, udp, sctp, http, https or ping`},
		{"a ping at a port", TCP, ProbeSpec{Type: ProbePing, Port: 80}, "port: a ping has no port; remove 80"},
		{"a path that is none", TCP, ProbeSpec{Type: ProbeHTTP, Request: "healthz"}, `request: "healthz" is no path; begin with /`},
		{"a path that ends the line", TCP, ProbeSpec{Type: ProbeHTTP, Request: "/\r\nHost: x"}, `request: "/\r\nHost: x" has blanks; write them as %20`},
		{"tcp sends nothing", TCP, ProbeSpec{Request: "/"}, "request: a tcp probe sends nothing; use type http, https or udp, or remove it"},
		{"sctp reads nothing", SCTP, ProbeSpec{Expect: "x"}, "expect: a sctp probe reads nothing; use type http, https or udp, or remove it"},
		{"a long request", UDP, ProbeSpec{Request: long}, "request: 1025 bytes, at most 1024"},
		{"a long answer", UDP, ProbeSpec{Expect: long}, "expect: 1025 bytes, at most 1024"},
		{"too often", TCP, ProbeSpec{PeriodMilliseconds: 99}, "periodMilliseconds: 99ms is not within 100ms to 24h0m0s"},
		{"too seldom", TCP, ProbeSpec{PeriodMilliseconds: 86400001}, "periodMilliseconds: 24h0m0.001s is not within 100ms to 24h0m0s"},
		{"no time to answer", TCP, ProbeSpec{TimeoutMilliseconds: 9}, "timeoutMilliseconds: 9ms is under 10ms"},
		{"longer than the period", TCP, ProbeSpec{PeriodMilliseconds: 500, TimeoutMilliseconds: 501}, "timeoutMilliseconds: 501ms is longer than the period; make it shorter"},
		{"too patient", TCP, ProbeSpec{Failures: 102}, "failures: 102 is over 101"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := ValidateProbe(tt.probe, tt.protocol); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
