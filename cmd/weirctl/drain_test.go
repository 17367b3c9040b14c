package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// The command ends when the daemon has: before that something of it is left.
func TestDrainWaitsUntilTheDaemonIsGone(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"status": "drained"}`)
		select {
		case asked <- r.Method + " " + r.URL.Path:
		default: // it polls for as long as we are here
		}
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	gone := make(chan bool)
	go func() {
		defer close(gone)
		for range 2 { // the drain, and one look whether we are gone
			if got := <-asked; got != "POST /v1/drain" && got != "GET /healthz" {
				t.Errorf("asked for %s", got)
			}
		}
		s.Close()
	}()
	code, stdout, stderr := weirctl(nil, "drain", "--socket", socket)
	if code != exitOK || stdout != "drained\n" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("it did not look whether the daemon is gone")
	}
}
