// Package pki makes the throw-away certificates of a topology: an authority
// that lives as long as the process, and certificates for mutual TLS between
// kube-weir, weirctl and the nodes. Never use it for anything that stays.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"
)

// lifetime of all certificates: longer than any topology stays up.
const lifetime = 30 * 24 * time.Hour

// Authority signs certificates. Its key is never written anywhere.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority (ECDSA P-256) with that common name.
func New(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of authority %s: %w", name, err)
	}
	from, to := lasting()
	t, err := certificate(name, from, to)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	return &Authority{cert, key}, nil
}

// WriteCA writes the authority's certificate as PEM, mode 0600.
func (a *Authority) WriteCA(file string) error {
	return writePEM(file, "CERTIFICATE", a.cert.Raw)
}

// Issue makes a key and a certificate for name and addresses, good for both
// sides of TLS, and writes them as PEM, mode 0600.
func (a *Authority) Issue(name string, addresses []netip.Addr, certFile, keyFile string) error {
	from, to := lasting()
	return a.IssueFor(from, to, name, addresses, certFile, keyFile)
}

// IssueFor is Issue of a certificate that is good from one moment to another.
func (a *Authority) IssueFor(from, to time.Time, name string, addresses []netip.Addr, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key of %s: %w", name, err)
	}
	t, err := certificate(name, from, to)
	if err != nil {
		return err
	}
	t.DNSNames = []string{name, "localhost"}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, addr := range addresses {
		t.IPAddresses = append(t.IPAddresses, addr.AsSlice())
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign certificate of %s: %w", name, err)
	}
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key of %s: %w", name, err)
	}
	return writePEM(keyFile, "PRIVATE KEY", pkcs8)
}

// lasting is an hour back, so that a clock that was set meanwhile does no harm, to lifetime.
func lasting() (from, to time.Time) {
	now := time.Now()
	return now.Add(-time.Hour), now.Add(lifetime)
}

func certificate(name string, from, to time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number of %s: %w", name, err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
	}, nil
}

func writePEM(file, kind string, der []byte) error {
	b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
