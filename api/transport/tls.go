package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files are the PEM files of one end of a mutual TLS connection. All three or
// none are given. They are read anew for each handshake, so whoever rotates
// certificates only replaces files.
type Files struct {
	// Cert is this end's certificate with its chain, Key its private key.
	Cert, Key string
	// CA holds the certificates that the other end's must descend from.
	CA string
}

// Given tells whether TLS is asked for; it is an error to name some files and
// not others.
func (f Files) Given() (bool, error) {
	switch {
	case f == Files{}:
		return false, nil
	case f.Cert == "" || f.Key == "" || f.CA == "":
		return false, errors.New("TLS needs a certificate, its key and a CA; give --tls-cert, --tls-key and --tls-ca together")
	}
	return true, nil
}

// server returns the configuration of the listening end: TLS 1.3, and every
// client shows a certificate of the CA. It fails when there are no credentials
// now; when there are none later the handshake fails.
func server(c Credentials) (*tls.Config, error) {
	if _, err := serverNow(c); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return serverNow(c)
		},
	}, nil
}

func serverNow(c Credentials) (*tls.Config, error) {
	cert, roots, err := c.Load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    roots,
		// A resumed session would outlive the certificate it began with.
		SessionTicketsDisabled: true,
	}, nil
}

// Client returns the configuration for one connection to serverName, a host
// name or an address that the server's certificate must carry.
func Client(c Credentials, serverName string) (*tls.Config, error) {
	cert, roots, err := c.Load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		Certificates: []tls.Certificate{cert},
		RootCAs:      roots,
		ServerName:   serverName,
	}, nil
}

// Load reads the files.
func (f Files) Load() (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("read certificate %s and key %s: %w", f.Cert, f.Key, err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return tls.Certificate{}, nil, fmt.Errorf("read CA %s: no certificate in it", f.CA)
	}
	return cert, pool, nil
}
