package health

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/waittest"
)

// pages is a server with a page for each answer.
func pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all is well\n") })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ill", http.StatusFound) })
	mux.HandleFunc("/ill", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/query", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.RawQuery, r.Host) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := fmt.Fprint(w, strings.Repeat("never ", 1000)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/wordy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeader))
	})
	return mux
}

// page is a target at a server.
func page(kind v1.ProbeType, server *httptest.Server, request, word string) Target {
	return Target{
		Type: kind, Address: netip.MustParseAddrPort(server.Listener.Addr().String()),
		Spec: v1.ProbeSpec{Request: request, Expect: word},
	}
}

func TestPages(t *testing.T) {
	nstest.MustUp(t, "lo")
	plain, secure := httptest.NewServer(pages()), httptest.NewTLSServer(pages())
	defer plain.Close()
	defer secure.Close()
	host := plain.Listener.Addr().String()
	for _, tt := range []struct {
		name    string
		target  Target
		want    string // the error, or how it ends; empty for healthy
		timeout time.Duration
	}{
		{"a page", page(v1.ProbeHTTP, plain, "", ""), "", 0},
		{"a page over TLS, whatever its certificate", page(v1.ProbeHTTPS, secure, "", ""), "", 0},
		{"a page with the word", page(v1.ProbeHTTP, plain, "/", "well"), "", 0},
		{"a page without the word", page(v1.ProbeHTTP, plain, "/", "ill"), `get /: the answer does not contain "ill"`, 0},
		{"nothing in it", page(v1.ProbeHTTP, plain, "/empty", ""), "", 0},
		{"a redirection lives, where it leads does not matter", page(v1.ProbeHTTP, plain, "/moved", ""), "", 0},
		{"a server that is ill", page(v1.ProbeHTTP, plain, "/ill", ""), "get /ill: status 503", 0},
		{"ill over TLS", page(v1.ProbeHTTPS, secure, "/ill", ""), "get /ill: status 503", 0},
		{"a page that is not there", page(v1.ProbeHTTP, plain, "/none/of", "ill"), `get /none/of: the answer does not contain "ill"`, 0},
		{"a question, and the host by its address", page(v1.ProbeHTTP, plain, "/query?a=b", "a=b"+host), "", 0},
		{"a body without end is read at its start only", page(v1.ProbeHTTP, plain, "/endless", "ever"), "", 0},
		{"and not to its end", page(v1.ProbeHTTP, plain, "/endless", "amen"), `does not contain "amen"`, 0},
		{"too much of a header", page(v1.ProbeHTTP, plain, "/wordy", ""), "exceeded", 0},
		{"no answer", page(v1.ProbeHTTP, plain, "/hangs", ""), "get /hangs: no answer in time", 100 * time.Millisecond},
		{"TLS where there is none", page(v1.ProbeHTTPS, plain, "/", ""), "server gave HTTP response to HTTPS client", 0},
		{"none where there is TLS", page(v1.ProbeHTTP, secure, "/", ""), "get /: status 400", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(tt.timeout, waittest.Deadline))
			defer cancel()
			latency, err := new(Network).Probe(ctx, tt.target)
			switch {
			case tt.want == "" && (err != nil || latency <= 0):
				t.Errorf("got %v after %v, want healthy", err, latency)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Hundreds of probes of one Network leave no connection behind.
func TestPagesKeepNoConnections(t *testing.T) {
	nstest.MustUp(t, "lo")
	var open atomic.Int32
	server := httptest.NewUnstartedServer(pages())
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.StartTLS()
	defer server.Close()
	n := new(Network)
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), waittest.Deadline)
		if _, err := n.Probe(ctx, page(v1.ProbeHTTPS, server, "/", "well")); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	waittest.Eventually(t, func() string {
		if left := open.Load(); left != 0 {
			return fmt.Sprintf("%d connections are left", left)
		}
		return ""
	})
}

// A datagram's answer counts where one is asked for: silence is a failure then.
func TestAnswersOfUDP(t *testing.T) {
	host := mustHost(t)
	echo := mustListenUDP(t, host)
	go func() {
		buffer := make([]byte, 100)
		for {
			size, from, err := echo.ReadFrom(buffer)
			if err != nil {
				return
			}
			if string(buffer[:size]) != "hush" {
				_, _ = echo.WriteTo(append([]byte("you said "), buffer[:size]...), from)
			}
		}
	}()
	for _, tt := range []struct{ request, expect, want string }{
		{"hello", "said hello", ""},
		{"", "said probe", ""},
		{"hello", "bye", `send: the answer does not contain "bye"`},
		{"hush", "hush", "send: no answer in time"},
		{"hush", "", ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := new(Network).Probe(ctx, Target{Type: v1.ProbeUDP, Address: at(backend, open), Spec: v1.ProbeSpec{Request: tt.request, Expect: tt.expect}})
		cancel()
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q, expecting %q: got %q, want %q", tt.request, tt.expect, got, tt.want)
		}
	}
}
