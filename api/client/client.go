// Package client talks to weir and kube-weir: over the unix socket of this
// machine, or over mutual TLS to another one.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
)

// DefaultTimeout bounds a request whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// errorBody is the most that is read of an answer that is not 2xx, in bytes.
const errorBody = 64 << 10

// answerBody is the most that is read of any other, in bytes: several times a
// state of 10 000 services, and 100 000 flows.
const answerBody = 256 << 20

// Options say where the server is. Give Socket or Server, not both.
type Options struct {
	// Node names the server in errors, "master1". Optional; Socket or Server
	// stands in for it.
	Node string
	// Socket is the path of a unix socket.
	Socket string
	// Server is https://HOST:PORT, or http://HOST:PORT on loopback.
	Server string
	// TLS is required for an https Server. It is asked anew for each
	// connection.
	TLS transport.Credentials
	// ServerName is what the server's certificate must carry. Optional; empty
	// means the host of Server.
	ServerName string
	// Timeout bounds a request whose context has no deadline. Optional; zero
	// means DefaultTimeout.
	Timeout time.Duration
}

// Client is safe for concurrent use. It keeps connections; Close ends them.
type Client struct {
	base      string
	node      string
	timeout   time.Duration
	transport *http.Transport
	http      *http.Client
}

// New checks options. It connects to nothing.
func New(o Options) (*Client, error) {
	t := &http.Transport{
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	}
	c := &Client{node: o.Node, timeout: o.Timeout, transport: t, http: &http.Client{Transport: t}}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	switch {
	case (o.Socket == "") == (o.Server == ""):
		return nil, errors.New("connect: give either a socket or a server")
	case o.Socket != "":
		c.base = "http://localhost"
		c.name(o.Socket)
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
		}
		return c, nil
	}
	return c, c.toServer(o)
}

func (c *Client) toServer(o Options) error {
	u, err := url.Parse(o.Server)
	if err != nil || u.Host == "" || u.Path != "" && u.Path != "/" {
		return fmt.Errorf("connect to %q: not a server; give https://HOST:PORT", o.Server)
	}
	c.base = u.Scheme + "://" + u.Host
	c.name(u.Host)
	secure, err := given(o.TLS)
	switch {
	case err != nil:
		return fmt.Errorf("connect to %s: %w", o.Server, err)
	case u.Scheme == "http" && !secure:
		return nil
	case u.Scheme != "https":
		return fmt.Errorf("connect to %q: use https:// with certificates, or http:// without", o.Server)
	case !secure:
		return fmt.Errorf("connect to %s: https needs certificates; give --tls-cert, --tls-key and --tls-ca", o.Server)
	}
	c.transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialTLS(ctx, o.TLS, o.ServerName, network, addr)
	}
	return nil
}

func given(c transport.Credentials) (bool, error) {
	if c == nil {
		return false, nil
	}
	return c.Given()
}

func (c *Client) name(fallback string) {
	if c.node == "" {
		c.node = fallback
	}
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// PutState replaces the owner's state on the node. A node that has a newer
// state of the owner answers with an *Error of Kind Conflict that carries the
// generation which stands.
func (c *Client) PutState(ctx context.Context, owner string, s v1.NodeState) (v1.OwnerStatus, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return v1.OwnerStatus{}, fmt.Errorf("encode state: %w", err)
	}
	return do[v1.OwnerStatus](ctx, c, http.MethodPut, "/v1/state/"+url.PathEscape(owner), body)
}

// PatchState changes the owner's state on the node. A node that holds another
// state than the change's base answers with an *Error of Kind Conflict that
// carries the generation which stands: send the whole state then.
func (c *Client) PatchState(ctx context.Context, owner string, change v1.NodeChange) (v1.OwnerStatus, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return v1.OwnerStatus{}, fmt.Errorf("encode change: %w", err)
	}
	return do[v1.OwnerStatus](ctx, c, http.MethodPatch, "/v1/state/"+url.PathEscape(owner), body)
}

// DeleteState makes the node forget the owner and all that it wants.
func (c *Client) DeleteState(ctx context.Context, owner string) error {
	_, err := do[v1.OwnerStatus](ctx, c, http.MethodDelete, "/v1/state/"+url.PathEscape(owner), nil)
	return err
}

// Owners returns how far each owner's state has come: small, for polling.
func (c *Client) Owners(ctx context.Context) ([]v1.OwnerStatus, error) {
	return get[[]v1.OwnerStatus](ctx, c, "/v1/owners")
}

// Report returns how an owner's services fare: small while all is well, for
// polling. An owner without a state is an *Error of Kind Refused.
func (c *Client) Report(ctx context.Context, owner string) (v1.OwnerReport, error) {
	return get[v1.OwnerReport](ctx, c, "/v1/owners/"+url.PathEscape(owner))
}

// States returns what each owner asked for.
func (c *Client) States(ctx context.Context) (v1.DesiredState, error) {
	return get[v1.DesiredState](ctx, c, "/v1/state")
}

// Observed returns everything that the node says of itself.
func (c *Client) Observed(ctx context.Context) (v1.ObservedState, error) {
	return get[v1.ObservedState](ctx, c, "/v1/observed")
}

// Services returns the node's services, those that it refused among them.
func (c *Client) Services(ctx context.Context) ([]v1.ServiceStatus, error) {
	return get[[]v1.ServiceStatus](ctx, c, "/v1/services")
}

// Backends returns the backends of all services.
func (c *Client) Backends(ctx context.Context) ([]v1.ServiceBackend, error) {
	return get[[]v1.ServiceBackend](ctx, c, "/v1/backends")
}

// Flows returns both directions of every connection.
func (c *Client) Flows(ctx context.Context) ([]v1.Flow, error) {
	return get[[]v1.Flow](ctx, c, "/v1/flows")
}

// Counters returns the packet totals and the drops by reason.
func (c *Client) Counters(ctx context.Context) (v1.Counters, error) {
	return get[v1.Counters](ctx, c, "/v1/drops")
}

// BGP returns the speaker's status, nil while BGP is off or not configured.
func (c *Client) BGP(ctx context.Context) (*v1.BGPStatus, error) {
	return get[*v1.BGPStatus](ctx, c, "/v1/bgp")
}

// Version names the program at the other end.
func (c *Client) Version(ctx context.Context) (v1.Version, error) {
	return get[v1.Version](ctx, c, "/v1/version")
}

// Healthy returns nil when the program at the other end works.
func (c *Client) Healthy(ctx context.Context) error {
	_, err := get[v1.Health](ctx, c, "/healthz")
	return err
}

// Ready returns nil when a controller has decided, or stands by for another
// that leads.
func (c *Client) Ready(ctx context.Context) error {
	_, err := get[v1.Health](ctx, c, "/readyz")
	return err
}

// Drain makes the node withdraw its service addresses and, when its peers had
// time to go elsewhere, stop for good. It returns when the node is about to
// end, after half a minute at most.
func (c *Client) Drain(ctx context.Context) error {
	_, err := do[v1.Health](ctx, c, http.MethodPost, "/v1/drain", nil)
	return err
}

// Controller returns what kube-weir knows and did; weir does not have it.
func (c *Client) Controller(ctx context.Context) (v1.ControllerStatus, error) {
	return get[v1.ControllerStatus](ctx, c, "/v1/controller")
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return do[T](ctx, c, http.MethodGet, path, nil)
}

// do sends a request and decodes the answer. Unknown fields are a newer
// server's, and ignored.
func do[T any](ctx context.Context, c *Client, method, path string, body []byte) (T, error) {
	var v T
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return v, c.unreachable(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return v, c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return v, c.refused(resp)
	}
	answer := io.LimitReader(resp.Body, answerBody)
	if err := json.NewDecoder(answer).Decode(&v); err != nil {
		return v, &Error{Kind: Failed, Node: c.node, Status: resp.StatusCode,
			Message: fmt.Sprintf("answer to %s %s is not understood: %v", method, path, err)}
	}
	_, err = io.Copy(io.Discard, answer) // lets the connection be kept
	if err != nil {
		return v, c.unreachable(err)
	}
	return v, nil
}
