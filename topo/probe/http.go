package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Headers that the HTTP server adds to its answers.
const (
	headerBackend = "X-Backend"
	headerClient  = "X-Seen-Client"
)

// nginx's welcome page in short; the title is what people look for.
const welcome = `<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>Served by %s to %s.</p>
</body>
</html>
`

// maxPage bounds what the client reads of an HTTP answer, bytes.
const maxPage = 1 << 20

type httpService struct {
	listener net.Listener
	server   *http.Server
}

func newHTTPService(name string, l net.Listener) *httpService {
	page := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "nginx")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set(headerBackend, name)
		w.Header().Set(headerClient, r.RemoteAddr)
		fmt.Fprintf(w, welcome, name, r.RemoteAddr)
	}
	return &httpService{l, &http.Server{
		Handler: http.HandlerFunc(page), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
	}}
}

func (s *httpService) addr() netip.AddrPort { return addrPort(s.listener.Addr()) }
func (s *httpService) close() error         { return errors.Join(s.server.Close(), s.listener.Close()) }

func (s *httpService) serve(ctx context.Context) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = s.server.Close()
	})
	err := s.server.Serve(s.listener)
	if !stop() {
		<-closed
	}
	return err
}

// requestHTTP fetches the page over a connection of its own.
func (c *Client) requestHTTP(ctx context.Context, r Request) (a Answer, err error) {
	start := time.Now()
	// Dialling here and not in the transport's goroutine: it would outlive a cancelled request.
	conn, err := c.dialTCP(ctx, r)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	a.Local, a.Remote = addrPort(conn.LocalAddr()), r.Target
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Target.String()+"/", nil)
	if err != nil {
		return a, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return a, fmt.Errorf("read page: %w", err)
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Welcome to nginx!") {
		return a, fmt.Errorf("%w: status %s, page %.80q", ErrWrongAnswer, resp.Status, body)
	}
	a.RTT = time.Since(start)
	return a, a.readGreeting(resp.Header.Get(headerBackend) + " " + resp.Header.Get(headerClient))
}
