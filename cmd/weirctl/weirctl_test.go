package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
)

// TestArticleTable holds `get lb` to the article's own lines.
func TestArticleTable(t *testing.T) {
	const want = `|  EXTERNAL IP  | PORT  | PROTOCOL | BLOCK | SELECT |  MODE  |# OF ENDPOINTS| MONITOR |
|---------------|-------|----------|-------|--------|--------|--------------|---------|
| 123.123.123.1 | 55002 | tcp      |     0 | rr     |fullnat |            1 | Off     |
| 123.123.123.1 | 55003 | udp      |     0 | rr     |fullnat |            1 | On      |
| 123.123.123.1 | 55004 | sctp     |     0 | rr     |fullnat |            1 | On      |
`
	_, got, _ := weirctl(map[string]string{"WEIR_SOCKET": daemon(t, article())}, "get", "lb")
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSelectSaysHowABackendIsChosen(t *testing.T) {
	for want, s := range map[string]v1.Service{
		"rr":      {},
		"hash":    {Algorithm: v1.Hash},
		"persist": {Algorithm: v1.Hash, Affinity: 60},
	} {
		if got := algorithm(s); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

// TestColumnsWidenWithContent holds that every line of a table is as long as
// the others, whatever is in it.
func TestColumnsWidenWithContent(t *testing.T) {
	services := article()["/v1/services"].([]v1.ServiceStatus)
	services[0].Name = "a-namespace-of-many-letters/größe"
	services[1].Mode = "hostonearm"
	services[2].Block = 4294967295
	for _, table := range []*table{lbTable(services), lbWide(services)} {
		var out strings.Builder
		if err := table.write(&out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		for _, line := range lines {
			if len([]rune(line)) != len([]rune(lines[0])) || strings.Count(line, "|") != strings.Count(lines[0], "|") {
				t.Errorf("a line out of line:\n%s", out.String())
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	broken := func(status int) string {
		path := filepath.Join(t.TempDir(), "s")
		l, err := transport.ListenUnix(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error": "told so"}`)
		}))
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		return path
	}
	good := daemon(t, article())
	dir := t.TempDir()
	rows := []struct {
		name, args string
		code       int
		stderr     string
	}{
		{"works", "get lb --socket " + good, exitOK, "is not programmed"},
		{"help", "--help", exitOK, ""},
		{"no daemon", "get lb --socket " + dir + "/none", exitUnreachable, "weirctl: " + dir + "/none: no socket there; is the daemon running, and is this its --socket?"},
		{"remote without certificates", "get lb --server https://192.0.2.1:11111", exitUsage, "https needs certificates; give --tls-cert, --tls-key and --tls-ca"},
		{"nobody at the port", "get lb --server http://127.0.0.1:1", exitUnreachable, "127.0.0.1:1: nobody listens; start the daemon"},
		{"node asked for the controller's", "get svc --socket " + good, exitRefused, "nothing at /v1/controller"},
		{"node cannot", "get lb --socket " + broken(500), exitFailed, "told so"},
		{"unknown flag", "get lb --colour", exitUsage, "unknown flag: --colour; see weirctl --help"},
		{"unknown format", "get lb -o yaml", exitUsage, `unknown format "yaml"; use wide or json`},
		{"unknown object", "get cats", exitUsage, `get "cats": unknown object; use one of ct, drops, ep, lb, neigh, nodes, svc`},
		{"no object", "get", exitUsage, `get "": unknown object; use one of`},
		{"unknown command", "put", exitUsage, `unknown command "put"`},
		{"an argument too many", "get lb extra", exitUsage, "extra"},
		{"an argument too many for the doctor, whose 1 is a finding", "doctor extra", exitUsage, "extra"},
		{"an argument too many for a drain", "drain extra", exitUsage, "extra"},
		{"two places", "get lb --socket s --server https://x:1", exitUsage, "give --socket or --server, not both"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			code, stdout, stderr := weirctl(nil, strings.Fields(r.args)...)
			if code != r.code || !strings.Contains(stderr, r.stderr) {
				t.Errorf("exit %d, want %d; standard error %q, want %q", code, r.code, stderr, r.stderr)
			}
			if code != exitOK && (stdout != "" || strings.Count(stderr, "\n") != 1) {
				t.Errorf("an error is one line on standard error; got %q and %q", stdout, stderr)
			}
		})
	}
}

func TestSocketsAreFound(t *testing.T) {
	rows := []struct {
		name             string
		env              map[string]string
		socket           string
		node, controller string
	}{
		{"by default", nil, "", "/run/weir/weir.sock", "/run/weir/kube-weir.sock"},
		{"by environment", map[string]string{"WEIR_SOCKET": "/a/m1.sock"}, "", "/a/m1.sock", "/a/kube-weir.sock"},
		{"each by its own", map[string]string{"WEIR_SOCKET": "/a/m1.sock", "WEIR_CONTROLLER_SOCKET": "/b/c.sock"}, "", "/a/m1.sock", "/b/c.sock"},
		{"by flag before all", map[string]string{"WEIR_SOCKET": "/a/m1.sock", "WEIR_CONTROLLER_SOCKET": "/b/c.sock"}, "/c/x.sock", "/c/x.sock", "/c/x.sock"},
	}
	for _, r := range rows {
		o := &options{socket: r.socket, getenv: func(k string) string { return r.env[k] }}
		if got := o.nodeSocket(); got != r.node {
			t.Errorf("%s: node at %s, want %s", r.name, got, r.node)
		}
		if got := o.controllerSocket(); got != r.controller {
			t.Errorf("%s: controller at %s, want %s", r.name, got, r.controller)
		}
	}
}

func TestJSONIsWhatTheDaemonHas(t *testing.T) {
	_, got, _ := weirctl(map[string]string{"WEIR_SOCKET": daemon(t, traffic())}, "get", "drops", "-o", "json")
	var c v1.Counters
	d := json.NewDecoder(strings.NewReader(got))
	if err := d.Decode(&c); err != nil || c.In != 100 || len(c.Drops) != 2 {
		t.Errorf("got %s (%v)", got, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Errorf("more than one value: %s", got)
	}
}

func TestCompletionIsThere(t *testing.T) {
	code, stdout, _ := weirctl(nil, "completion", "bash")
	if code != exitOK || !strings.Contains(stdout, "weirctl") {
		t.Errorf("exit %d", code)
	}
}
