package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Kind tells what can be done about an error.
type Kind int

// The kinds of an Error.
const (
	// Unreachable: no answer came. Trying again may help.
	Unreachable Kind = iota + 1
	// Refused: the request cannot be, as it is (400, 404, 405, 413, 415).
	Refused
	// Conflict: a newer state stands (409); see Current.
	Conflict
	// Failed: the server could not do it (5xx), was too slow to be asked
	// (408), or answered what is not understood. Trying again may help.
	Failed
)

// Error is every error of a request. It names the node and what to do.
type Error struct {
	Kind Kind
	Node string
	// Status is that of the answer, zero when none came.
	Status  int
	Message string
	// Path is the field that was refused.
	Path string
	// Current is the generation that stands, with Conflict.
	Current *v1.Generation
	// Err is the cause, when no answer came.
	Err error
}

// Error names the node and the cause, in one line.
func (e *Error) Error() string { return e.Node + ": " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// unreachable explains why no answer came.
func (c *Client) unreachable(err error) error {
	// The URL says nothing that the node does not: with a socket it is made
	// up.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return &Error{Kind: Unreachable, Node: c.node, Message: explain(err), Err: err}
}

// explain adds what to do to errors that people meet.
func explain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	_, unknownCA := errors.AsType[x509.UnknownAuthorityError](err)
	_, wrongHost := errors.AsType[x509.HostnameError](err)
	_, badCert := errors.AsType[x509.CertificateInvalidError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	// net/http keeps the type of this one to itself.
	plain := strings.Contains(text, "server gave HTTP response to HTTPS client")
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDial(err):
		return "no socket there; is the daemon running, and is this its --socket?"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens; start the daemon (" + text + ")"
	case errors.Is(err, fs.ErrPermission):
		return "no permission; run as root or as a member of the socket's group (" + text + ")"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time; is the node up, and is the address right?"
	case unknownCA:
		return "the server's certificate is not of our CA; check --tls-ca (" + text + ")"
	case wrongHost, badCert:
		return "the server's certificate is not valid; check it and the address (" + text + ")"
	case alert || strings.Contains(text, "remote error: tls:"):
		return "the server refused our certificate; check --tls-cert (" + text + ")"
	case plain:
		return "the server does not speak TLS; it has no certificates, use its socket (" + text + ")"
	}
	return "no answer: " + text
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// refused turns an answer that is not 2xx into an error.
func (c *Client) refused(resp *http.Response) error {
	e := &Error{Kind: Refused, Node: c.node, Status: resp.StatusCode}
	switch {
	case resp.StatusCode == http.StatusConflict:
		e.Kind = Conflict
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusRequestTimeout:
		e.Kind = Failed
	}
	var body v1.Error
	raw, err := io.ReadAll(io.LimitReader(resp.Body, errorBody))
	if err != nil || json.Unmarshal(raw, &body) != nil || body.Message == "" {
		e.Message = fmt.Sprintf("answered %s", resp.Status)
		return e
	}
	e.Message, e.Path, e.Current = oneLine(body.Message), oneLine(body.Path), body.Current
	return e
}

// oneLine takes control characters out of what a server says: it goes to a
// terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
