package health

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxBody in bytes is how far an expected word is looked for, as much as
	// the kubelet reads.
	maxBody = 10 << 10
	// maxHeader in bytes: what has more is no answer to a probe.
	maxHeader = 16 << 10
)

// http asks for a page with GET and goes nowhere else: a redirection is an
// answer, from whoever lives. As with the kubelet's probes a certificate is
// not verified: it is the clients' business, and made out to a name, not to an
// address.
func (n *Network) http(ctx context.Context, t Target) (time.Duration, error) {
	page, err := url.Parse(string(t.Type) + "://" + t.Address.String() + cmp.Or(t.Spec.Request, "/"))
	if err != nil {
		return 0, fmt.Errorf("get %s: %v: %w", t.Spec.Request, err, ErrInconclusive)
	}
	request := (&http.Request{
		Method: http.MethodGet, URL: page, Host: page.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"weir-probe"}, "Accept": {"*/*"}},
	}).WithContext(ctx)
	started := time.Now()
	// The transport would go on dialing after ctx has ended.
	conn, err := n.dial(ctx, "tcp4", t, func(int) error { return nil })
	if err != nil {
		return 0, because(ctx, "get "+page.Path, err)
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // all that matters is read: close resets, and nothing stays in TIME_WAIT
	}
	response, err := visitor(conn).Do(request)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the page is known
		}
		return 0, because(ctx, "get "+page.Path, err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return 0, fmt.Errorf("get %s: status %d", page.Path, response.StatusCode)
	}
	if err := expect(t.Spec.Expect, response.Body); err != nil {
		return 0, because(ctx, "get "+page.Path, err)
	}
	return time.Since(started), nil
}

// expect looks for a word at the start of a body; without one the body does
// not matter.
func expect(word string, body io.Reader) error {
	if word == "" {
		return nil
	}
	start, err := io.ReadAll(io.LimitReader(body, maxBody))
	if bytes.Contains(start, []byte(word)) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the answer does not contain %q", word)
}

// visitor returns a client for one page over a connection.
func visitor(conn net.Conn) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see http
		},
	}
}
