package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/agent"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// dataplane programs everything, or cannot be read.
type dataplane struct {
	agent.Dataplane
	unreadable error
}

func (d dataplane) Services(context.Context) ([]v1.ServiceStatus, error) { return nil, d.unreadable }
func (d dataplane) Statuses(context.Context) ([]v1.ServiceStatus, error) { return nil, d.unreadable }
func (d dataplane) Flows(context.Context) ([]v1.Flow, error)             { return nil, d.unreadable }
func (d dataplane) Counters(context.Context) (v1.Counters, error) {
	return v1.Counters{In: 1, Passed: 1, Drops: []v1.Drop{}}, d.unreadable
}
func (d dataplane) FlowTable() v1.FlowTable { return v1.FlowTable{} }

func (d dataplane) Conditions() []v1.Condition { return nil }

func (d dataplane) Interfaces() []v1.Interface { return nil }

var quiet = slog.New(slog.DiscardHandler)

func newServer(d dataplane, limits Limits) *Server {
	node := agent.New(agent.Options{Name: "master1", Version: "v0", Dataplane: d, Log: quiet})
	return New(node, quiet, limits)
}

const (
	goodService = `{"name":"default/a","vip":"192.0.2.1","port":80,"protocol":"tcp","mode":"fullnat","backends":[{"address":"198.51.100.1","port":30000}]}`
	badService  = `{"name":"default/b","vip":"192.0.2.1","port":0,"protocol":"tcp","mode":"fullnat"}`
)

// body returns a state of one epoch.
func body(sequence int, services ...string) string {
	return fmt.Sprintf(`{"generation":{"epoch":1,"sequence":%d},"services":[%s]}`, sequence, strings.Join(services, ","))
}

// change returns a change within that epoch.
func change(base, sequence int, parts string) string {
	return fmt.Sprintf(`{"base":{"epoch":1,"sequence":%d},"generation":{"epoch":1,"sequence":%d},%s}`, base, sequence, parts)
}

// request sends one to a handler and returns status and body.
func request(h http.Handler, method, path, contentType, body string) (int, string, http.Header) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String()), w.Header()
}

func TestAnswers(t *testing.T) {
	const asJSON = "application/json"
	limits := DefaultLimits
	limits.Body = 1000
	// Every row runs on a server that holds generation 1.5 of owner
	// controller.
	rows := []struct {
		name                     string
		method, path, kind, body string
		status                   int
		want                     string
		exact                    bool
	}{
		{"newer state", "PUT", "/v1/state/controller", asJSON, body(6, goodService), 200, `"desired":{"epoch":1,"sequence":6}`, false},
		{"same state again", "PUT", "/v1/state/controller", asJSON, body(5, goodService), 200, `"desired":{"epoch":1,"sequence":5}`, false},
		{"content type with a charset", "PUT", "/v1/state/controller", asJSON + "; charset=utf-8", body(6), 200, `"owner":"controller"`, false},
		{"another owner", "PUT", "/v1/state/file", asJSON, body(1), 200, `"owner":"file"`, false},
		{"a bad service goes in as a condition", "PUT", "/v1/state/controller", asJSON, body(6, badService, goodService), 200, `"sequence":6`, false},
		{"older state", "PUT", "/v1/state/controller", asJSON, body(4), 409, `{"error":"generation 1.4 of owner controller is older than 1.5; send a higher generation","current":{"epoch":1,"sequence":5}}`, true},
		{"same generation, other content", "PUT", "/v1/state/controller", asJSON, body(5), 409, `{"error":"generation 1.5 of owner controller has other content already; send a higher generation","current":{"epoch":1,"sequence":5}}`, true},
		{"unknown field", "PUT", "/v1/state/controller", asJSON, `{"services":[{"colour":1}]}`, 400, `{"error":"services[0].colour: unknown field","path":"services[0].colour"}`, true},
		{"wrong type", "PUT", "/v1/state/controller", asJSON, `{"services":[{},{"port":"x"}]}`, 400, `{"error":"services[1].port: \"x\" is no whole number of 16 bits","path":"services[1].port"}`, true},
		{"given twice", "PUT", "/v1/state/controller", asJSON, `{"roles":[],"roles":[]}`, 400, `{"error":"roles: field given twice","path":"roles"}`, true},
		{"not JSON", "PUT", "/v1/state/controller", asJSON, `hello`, 400, `{"error":"not JSON: line 1, column 1: invalid character 'h' looking for beginning of value"}`, true},
		{"no body", "PUT", "/v1/state/controller", asJSON, ``, 400, `{"error":"not JSON: line 1, column 1: unexpected end of JSON input"}`, true},
		{"bgp that cannot be", "PUT", "/v1/state/controller", asJSON, `{"bgp":{"asn":0}}`, 400, `{"error":"bgp.asn: 0 is no AS number (RFC 7607)","path":"bgp.asn"}`, true},
		{"owner that cannot be", "PUT", "/v1/state/No%20one", asJSON, body(6), 400, `"path":"owner"`, false},
		{"too large", "PUT", "/v1/state/controller", asJSON, body(6, strings.Repeat(" ", 1000)), 413, `{"error":"body is over 1000 bytes; send fewer services"}`, true},
		{"a form", "PUT", "/v1/state/controller", "application/x-www-form-urlencoded", body(6), 415, `{"error":"content type \"application/x-www-form-urlencoded\" is not understood; send application/json"}`, true},
		{"no content type", "PUT", "/v1/state/controller", "", body(6), 415, `content type \"\" is not understood`, false},
		{"a method that is not there", "POST", "/v1/state/controller", asJSON, body(6), 405, `{"error":"/v1/state/controller has no POST; use DELETE, PATCH, PUT"}`, true},
		{"writing what is to be read", "DELETE", "/v1/services", "", "", 405, `{"error":"/v1/services has no DELETE; use GET"}`, true},
		{"a path that is not there", "GET", "/v2/state", "", "", 404, `{"error":"nothing at /v2/state; see GET /v1/observed"}`, true},
		{"the root", "GET", "/", "", "", 404, `nothing at /`, false},
		{"state without owner", "PUT", "/v1/state/", asJSON, body(6), 404, `nothing at /v1/state/`, false},
		{"a change", "PATCH", "/v1/state/controller", asJSON, change(5, 6, `"upsert":[`+badService+`]`), 200, `{"owner":"controller","desired":{"epoch":1,"sequence":6},"applied":{"epoch":0,"sequence":0}}`, true},
		{"a change to nothing", "PATCH", "/v1/state/file", asJSON, `{"base":{},"generation":{"epoch":1},"upsert":[` + goodService + `]}`, 200, `"owner":"file"`, false},
		{"a change to another state", "PATCH", "/v1/state/controller", asJSON, change(4, 6, `"roles":[]`), 409, `{"error":"owner controller holds generation 1.5, and the change is to 1.4; send the whole state","current":{"epoch":1,"sequence":5}}`, true},
		{"a change that is none", "PATCH", "/v1/state/controller", asJSON, change(5, 5, `"roles":[]`), 400, `{"error":"generation: 1.5 is not newer than base 1.5","path":"generation"}`, true},
		{"a change with an unknown field", "PATCH", "/v1/state/controller", asJSON, change(5, 6, `"services":[]`), 400, `{"error":"services: unknown field","path":"services"}`, true},
		{"a change as JSON merge patch", "PATCH", "/v1/state/controller", "application/merge-patch+json", change(5, 6, `"roles":[]`), 415, `send application/json`, false},
		{"an owner forgotten", "DELETE", "/v1/state/controller", "", "", 200, `{"owner":"controller","desired":{"epoch":0,"sequence":0},"applied":{"epoch":0,"sequence":0}}`, true},
		{"an owner that is not there", "DELETE", "/v1/state/nobody", "", "", 404, `{"error":"no such owner: \"nobody\" has no state here; see GET /v1/owners"}`, true},
		{"owners", "GET", "/v1/owners", "", "", 200, `[{"owner":"controller","desired":{"epoch":1,"sequence":5},"applied":{"epoch":0,"sequence":0}}]`, true},
		{"an owner's services", "GET", "/v1/owners/controller", "", "", 200, `{"owner":"controller","desired":{"epoch":1,"sequence":5},"applied":{"epoch":0,"sequence":0},"faults":[{"frontend":{"vip":"192.0.2.1","port":80,"protocol":"tcp"},"condition":{"type":"Programmed","status":false,"reason":"Pending","message":"not applied yet"}}]}`, true},
		{"services of an owner that is not there", "GET", "/v1/owners/nobody", "", "", 404, `{"error":"no such owner: \"nobody\" has no state here; see GET /v1/owners"}`, true},
		{"desired state", "GET", "/v1/state", "", "", 200, `{"controller":{"generation":{"epoch":1,"sequence":5},"services":[` + goodService + `]}}`, true},
		{"observed state", "GET", "/v1/observed", "", "", 200, `{"node":"master1","version":"v0","mode":"lb","owners":[{"owner":"controller"`, false},
		{"services", "GET", "/v1/services", "", "", 200, `"owner":"controller","programmed":false,"conditions":[{"type":"Programmed"`, false},
		{"backends", "GET", "/v1/backends", "", "", 200, `[]`, true},
		{"flows", "GET", "/v1/flows", "", "", 200, `[]`, true},
		{"drops", "GET", "/v1/drops", "", "", 200, `{"in":1,"forwarded":0,"passed":1,"answered":0,"drops":[],"flowTable":{"entries":0,"capacity":0}}`, true},
		{"no bgp", "GET", "/v1/bgp", "", "", 200, `null`, true},
		{"version", "GET", "/v1/version", "", "", 200, `{"node":"master1","version":"v0","mode":"lb","go":"go`, false},
		{"health", "GET", "/healthz", "", "", 200, `{"status":"ok"}`, true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			h := newServer(dataplane{}, limits).Handler()
			if status, got, _ := request(h, "PUT", "/v1/state/controller", asJSON, body(5, goodService)); status != 200 {
				t.Fatal(got)
			}
			status, got, header := request(h, r.method, r.path, r.kind, r.body)
			if status != r.status || r.exact && got != r.want || !strings.Contains(got, r.want) {
				t.Errorf("got  %d %s\nwant %d %s", status, got, r.status, r.want)
			}
			if kind := header.Get("Content-Type"); kind != asJSON || !json.Valid([]byte(got)) {
				t.Errorf("answer of type %q is not JSON: %s", kind, got)
			}
			if (status == 405) != (header.Get("Allow") != "") {
				t.Errorf("%d with Allow %q", status, header.Get("Allow"))
			}
		})
	}
}

func TestABadServiceIsNamedAndTheOthersGoOn(t *testing.T) {
	h := newServer(dataplane{}, Limits{}).Handler()
	request(h, "PUT", "/v1/state/controller", "application/json", body(1, badService, goodService))
	_, got, _ := request(h, "GET", "/v1/services", "", "")
	var services []v1.ServiceStatus
	if err := json.Unmarshal([]byte(got), &services); err != nil {
		t.Fatal(err)
	}
	if len(services) != 2 || services[0].Conditions[0].Reason != agent.ReasonInvalid ||
		services[0].Conditions[0].Message != "services[0].port: 0 is no port, use 1 to 65535" ||
		services[1].Conditions[0].Reason != agent.ReasonPending {
		t.Errorf("got %s", got)
	}
}

func TestWhatCannotBeReadIs500(t *testing.T) {
	h := newServer(dataplane{unreadable: errors.New("read map flows: gone")}, Limits{}).Handler()
	for _, path := range []string{"/v1/services", "/v1/backends", "/v1/flows", "/v1/drops"} {
		if status, got, _ := request(h, "GET", path, "", ""); status != 500 || got != `{"error":"read map flows: gone"}` {
			t.Errorf("%s: got %d %s", path, status, got)
		}
	}
	// Observed is for finding out what is wrong, so it answers always.
	if status, got, _ := request(h, "GET", "/v1/observed", "", ""); status != 200 || !strings.Contains(got, "read map flows: gone") {
		t.Errorf("observed: got %d %s", status, got)
	}
}

func TestMetricsAreServed(t *testing.T) {
	h := newServer(dataplane{}, Limits{}).Handler()
	request(h, "PUT", "/v1/state/controller", "application/json", body(5, goodService))
	status, got, header := request(h, "GET", "/metrics", "", "")
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("got %d %s", status, header)
	}
	for _, line := range []string{`weir_services{state="pending"} 1`, `weir_packets_total{action="passed"} 1`, `weir_owner_generation_lag{owner="controller"} 5`} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
}

// serve runs a server on loopback until the test ends, or stop is called.
func serve(t *testing.T, limits Limits) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- newServer(dataplane{}, limits).Run(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// dial connects for 5 s at most.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// raw writes text to addr and returns the answer's status, 0 when the
// connection ends without one.
func raw(t *testing.T, addr, text string) int {
	t.Helper()
	conn := dial(t, addr)
	fmt.Fprint(conn, text)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			t.Fatal("the connection was left open for 5 s")
		}
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestSlowClientsAreCut(t *testing.T) {
	limits := DefaultLimits
	limits.Header, limits.Read = 100*time.Millisecond, 200*time.Millisecond
	addr, _ := serve(t, limits)
	const head = "PUT /v1/state/controller HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	if got := raw(t, addr, head); got != 0 && got != http.StatusRequestTimeout {
		t.Errorf("half a head: got %d", got)
	}
	if got := raw(t, addr, head+"Content-Length: 100\r\n\r\n{"); got != http.StatusRequestTimeout {
		t.Errorf("half a body: got %d, want 408", got)
	}
	if got := raw(t, addr, head+"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"); got != http.StatusRequestTimeout {
		t.Errorf("an endless body: got %d, want 408", got)
	}
}

func TestAnEndlessBodyIsCutAtTheLimit(t *testing.T) {
	limits := DefaultLimits
	limits.Body = 1 << 10
	addr, _ := serve(t, limits)
	req := must(http.NewRequest("PUT", "http://"+addr+"/v1/state/controller", io.LimitReader(zeros{}, 32<<10)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d, want 413", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestShutdownLetsARequestFinish(t *testing.T) {
	addr, stop := serve(t, DefaultLimits)
	conn := dial(t, addr)
	text := body(1, goodService)
	// 100-continue tells that the handler reads the body now.
	fmt.Fprintf(conn, "PUT /v1/state/controller HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(text))
	answer := bufio.NewReader(conn)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := answer.ReadString('\n'); err != nil || strings.TrimSpace(line) != "" {
		t.Fatalf("got %q, %v after the status line", line, err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	waitClosed(t, addr)
	fmt.Fprint(conn, text)
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
	<-ended
}

// waitClosed polls until nobody listens on addr.
func waitClosed(t *testing.T, addr string) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatal("the listener is open after 5 s")
		}
	}
}
