package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answers is a server at the other end of the wire.
type answers struct {
	status int
	body   []byte
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// FuzzAnswer holds that whatever a server says, a person gets a value or an
// error of one line that names the node.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"node":"a","services":[{"vip":"192.0.2.1","port":80,"protocol":"tcp"}]}`))
	f.Add(200, []byte(`{"bgp":{"peers":[{"address":"x"}]}}`))
	f.Add(409, []byte(`{"error":"old","current":{"epoch":1,"sequence":5}}`))
	f.Add(500, []byte("<html>\n\n</html>"))
	f.Add(404, []byte(`{"error":"a\nb","path":""}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 100 || status > 999 {
			t.Skip("no status of HTTP")
		}
		c, err := New(Options{Node: "master1", Socket: "/nowhere"})
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = answers{status, body}
		_, observed := c.Observed(t.Context())
		_, controller := c.Controller(t.Context())
		_, flows := c.Flows(t.Context())
		for _, err := range []error{observed, controller, flows} {
			if err == nil {
				continue
			}
			if _, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(err.Error(), "master1: ") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%d %q: error %q", status, body, err)
			}
		}
	})
}
