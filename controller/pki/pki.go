package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Keys of a Data; Cert and Key are those of a Secret of type kubernetes.io/tls.
const (
	Cert    = "tls.crt"
	Key     = "tls.key"
	Trusted = "ca.crt"

	nextCert = "next.crt"
	nextKey  = "next.key"
)

const (
	// authorityLife and certificateLife: a controller may be away for a month
	// before a certificate ends, and for eight before all are made anew
	// without an overlap.
	authorityLife   = 2 * 365 * 24 * time.Hour
	certificateLife = 90 * 24 * time.Hour
	// backdate lets machines read a new certificate whose clock is behind.
	backdate = time.Hour
)

// Data is what a Secret holds: PEM by key. It is never changed, only replaced.
type Data = map[string][]byte

// signer is a certificate with its key.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// read parses a pair of PEM.
func read(cert, key []byte) (signer, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return signer{}, err
	}
	private, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return signer{}, errors.New("the key cannot sign")
	}
	return signer{pair.Leaf, private}, nil
}

// sign makes a key and a certificate for it, signed by s; the zero signer
// stands for the certificate itself.
func (s signer) sign(template *x509.Certificate) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	if s.cert == nil {
		s = signer{template, private}
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, private.Public(), s.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return encode(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// over says that certificate c must not be used any more, or not yet.
func over(c *x509.Certificate, now time.Time) bool {
	return now.Before(c.NotBefore) || !now.Before(c.NotAfter)
}

// due says that two thirds of c's life are over.
func due(c *x509.Certificate, now time.Time) bool {
	return over(c, now) || now.After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore)*2/3))
}

// certificates reads all of a PEM bundle that can be read.
func certificates(bundle []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
}

// contains says that a bundle has a certificate.
func contains(bundle []byte, c *x509.Certificate) bool {
	for _, other := range certificates(bundle) {
		if bytes.Equal(other.Raw, c.Raw) {
			return true
		}
	}
	return false
}

// template is a certificate of that name, from now on.
func template(name string, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
	}
}
