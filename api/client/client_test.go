package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// serve answers on a unix socket with h.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := transport.ListenUnix(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return newClient(t, Options{Node: "master1", Socket: path})
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPutStateSendsJSON(t *testing.T) {
	want := v1.NodeState{Generation: v1.Generation{Epoch: 1, Sequence: 2}}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, err := v1.DecodeState(body)
		if err != nil || got.Generation != want.Generation || r.Method != "PUT" ||
			r.URL.Path != "/v1/state/controller" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %s %s %s, %v", r.Method, r.URL, r.Header, body, err)
		}
		if err := json.NewEncoder(w).Encode(v1.OwnerStatus{Owner: "controller", Desired: got.Generation}); err != nil {
			t.Error(err)
		}
	})
	got, err := c.PutState(context.Background(), "controller", want)
	if err != nil || got.Desired != want.Generation {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPatchAndDeleteHaveTheirPath(t *testing.T) {
	change := v1.NodeChange{Generation: v1.Generation{Epoch: 1}, Remove: []v1.Frontend{{Port: 80}}, Roles: []v1.Role{}}
	var asked, body string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		asked, body = r.Method+" "+r.URL.Path, string(sent)
		fmt.Fprint(w, `{"owner":"controller","desired":{"epoch":1,"sequence":0}}`)
	})
	got, err := c.PatchState(context.Background(), "controller", change)
	if err != nil || got.Desired != change.Generation || asked != "PATCH /v1/state/controller" {
		t.Errorf("asked %s, got %+v, %v", asked, got, err)
	}
	// That roles are to go is not the same as to leave them.
	if !strings.Contains(body, `"roles":[]`) || strings.Contains(body, "upsert") || strings.Contains(body, "bgp") {
		t.Errorf("sent %s", body)
	}
	if err := c.DeleteState(context.Background(), "controller"); err != nil || asked != "DELETE /v1/state/controller" || body != "" {
		t.Errorf("asked %s with %q, %v", asked, body, err)
	}
}

func TestEachReadHasItsPath(t *testing.T) {
	ctx := context.Background()
	reads := map[string]func(*Client) error{
		"/v1/state":      func(c *Client) error { _, err := c.States(ctx); return err },
		"/v1/owners":     func(c *Client) error { _, err := c.Owners(ctx); return err },
		"/v1/observed":   func(c *Client) error { _, err := c.Observed(ctx); return err },
		"/v1/services":   func(c *Client) error { _, err := c.Services(ctx); return err },
		"/v1/backends":   func(c *Client) error { _, err := c.Backends(ctx); return err },
		"/v1/flows":      func(c *Client) error { _, err := c.Flows(ctx); return err },
		"/v1/drops":      func(c *Client) error { _, err := c.Counters(ctx); return err },
		"/v1/bgp":        func(c *Client) error { _, err := c.BGP(ctx); return err },
		"/v1/version":    func(c *Client) error { _, err := c.Version(ctx); return err },
		"/healthz":       func(c *Client) error { return c.Healthy(ctx) },
		"/v1/controller": func(c *Client) error { _, err := c.Controller(ctx); return err },
	}
	for path, read := range reads {
		var asked string
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = r.Method + " " + r.URL.Path
			fmt.Fprint(w, "null")
		})
		if err := read(c); err != nil || asked != "GET "+path {
			t.Errorf("%s: asked %s, %v", path, asked, err)
		}
	}
}

func TestANewerServerIsUnderstood(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"node": "master1", "later": {"x": 1}}`)
	})
	if o, err := c.Observed(context.Background()); err != nil || o.Node != "master1" {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	rows := []struct {
		name string
		h    http.HandlerFunc
		kind Kind
		want string
	}{
		{"refused field", answer(400, `{"error":"bgp.asn: 0 is no AS number","path":"bgp.asn"}`), Refused, "master1: bgp.asn: 0 is no AS number"},
		{"conflict", answer(409, `{"error":"older","current":{"epoch":2,"sequence":3}}`), Conflict, "master1: older"},
		{"no such path", answer(404, `{"error":"nothing at /v1/services"}`), Refused, "master1: nothing at /v1/services"},
		{"too slow", answer(408, `{"error":"slow"}`), Failed, "master1: slow"},
		{"broken node", answer(500, `{"error":"read map: gone"}`), Failed, "master1: read map: gone"},
		{"somebody else's page", answer(502, `<html>`), Failed, "master1: answered 502 Bad Gateway"},
		{"not our JSON", answer(200, `{"services": 1}`), Failed, "master1: answer to GET /v1/observed is not understood"},
		{"cut answer", answer(200, `{"node": "ma`), Failed, "master1: answer to GET /v1/observed is not understood: unexpected EOF"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, err := serve(t, r.h).Observed(context.Background())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != r.kind || !strings.HasPrefix(e.Error(), r.want) {
				t.Errorf("got  %+v\nwant kind %d: %s", e, r.kind, r.want)
			}
			if r.kind == Conflict && *e.Current != (v1.Generation{Epoch: 2, Sequence: 3}) {
				t.Errorf("conflict carries %v", e.Current)
			}
			if r.name == "refused field" && e.Path != "bgp.asn" {
				t.Errorf("path %q", e.Path)
			}
		})
	}
}

func TestUnreachableSaysWhy(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for socket, want := range map[string]string{
		filepath.Join(dir, "none"): "no socket there",
		stale:                      "nobody listens",
	} {
		_, err := newClient(t, Options{Socket: socket}).Observed(context.Background())
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != Unreachable || !strings.HasPrefix(e.Error(), socket+": "+want) {
			t.Errorf("got %v, want %s: %s", err, socket, want)
		}
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	c := serve(t, silent)
	c.timeout = 50 * time.Millisecond
	_, byTimeout := c.Observed(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, byCaller := c.Observed(ctx)
	if !errors.Is(byTimeout, context.DeadlineExceeded) || !strings.Contains(byTimeout.Error(), "no answer in time") {
		t.Errorf("time-out: %v", byTimeout)
	}
	if !errors.Is(byCaller, context.Canceled) {
		t.Errorf("cancelled: %v", byCaller)
	}
}

func TestNewRefusesHalfAnAddress(t *testing.T) {
	files := transport.Files{Cert: "c", Key: "k", CA: "a"}
	rows := []struct {
		o    Options
		want string
	}{
		{Options{}, "give either a socket or a server"},
		{Options{Socket: "s", Server: "https://x"}, "give either a socket or a server"},
		{Options{Server: "192.0.2.1:11111", TLS: files}, "not a server; give https://HOST:PORT"},
		{Options{Server: "https://192.0.2.1:11111/v1", TLS: files}, "not a server"},
		{Options{Server: "https://192.0.2.1:11111"}, "https needs certificates"},
		{Options{Server: "http://192.0.2.1:11111", TLS: files}, "use https:// with certificates"},
		{Options{Server: "https://192.0.2.1:11111", TLS: transport.Files{Cert: "c"}}, "give --tls-cert, --tls-key and --tls-ca together"},
	}
	for _, r := range rows {
		if _, err := New(r.o); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%+v: got %v, want %q", r.o, err, r.want)
		}
	}
}

// TestTLS uses the certificate of httptest for both ends.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"status":"`+r.TLS.PeerCertificates[0].Subject.Organization[0]+`"}`)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	files := writeCertificate(t, s.TLS.Certificates[0])
	c := newClient(t, Options{Node: "master1", Server: s.URL, TLS: files})
	if err := c.Healthy(context.Background()); err != nil {
		t.Error(err)
	}

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	local := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	named := newClient(t, Options{Server: local, ServerName: "example.com", TLS: files})
	if err := named.Healthy(context.Background()); err != nil {
		t.Errorf("the name of the certificate, and not of the host: %v", err)
	}
	rows := []struct {
		name, server string
		files        transport.Files
		want         string
	}{
		{"a server without TLS", "https://" + plain.Listener.Addr().String(), files, "does not speak TLS"},
		{"a wrong name", local, files, "certificate is not valid"},
		{"a missing file", s.URL, transport.Files{Cert: files.Cert, Key: files.Key, CA: files.CA + "x"}, "read CA"},
	}
	for _, r := range rows {
		err := newClient(t, Options{Server: r.server, TLS: r.files}).Healthy(context.Background())
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unreachable || !strings.Contains(e.Message, r.want) {
			t.Errorf("%s: got %v, want %q", r.name, err, r.want)
		}
	}
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
