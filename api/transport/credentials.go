package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
)

// Credentials are what one end of a mutual TLS connection shows, and whom it
// believes: Files, or a Held. They are asked anew for each connection.
type Credentials interface {
	// Given tells whether TLS is asked for.
	Given() (bool, error)
	// Load returns this end's certificate with its key, and the CAs that the
	// other end's must descend from.
	Load() (tls.Certificate, *x509.CertPool, error)
}

// Held are credentials in memory, whose holder replaces them. Safe for
// concurrent use; the zero value has none yet.
type Held struct {
	mu    sync.Mutex
	cert  tls.Certificate
	roots *x509.CertPool
	lacks error
}

// Given is always true: who holds credentials wants TLS, also while it waits
// for them.
func (h *Held) Given() (bool, error) { return true, nil }

// Load returns what was set last, or why there is nothing.
func (h *Held) Load() (tls.Certificate, *x509.CertPool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.roots != nil:
		return h.cert, h.roots, nil
	case h.lacks != nil:
		return tls.Certificate{}, nil, fmt.Errorf("no certificates yet: %w", h.lacks)
	}
	return tls.Certificate{}, nil, errors.New("no certificates yet")
}

// Set replaces the credentials by PEM: a certificate with its chain, its key,
// and the CAs to believe. After an error they are as before.
func (h *Held) Set(cert, key, ca []byte) error {
	pair, roots, err := parse(cert, key, ca)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cert, h.roots, h.lacks = pair, roots, nil
	return nil
}

// Lack says why nothing was set so far. What was set before stays in use.
func (h *Held) Lack(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lacks = why
}

func parse(cert, key, ca []byte) (tls.Certificate, *x509.CertPool, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return tls.Certificate{}, nil, errors.New("no certificate in the CA's PEM")
	}
	return pair, roots, nil
}
