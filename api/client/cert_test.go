package client

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/weir-lb/weir/api/transport"
)

// writeCertificate writes a certificate that signed itself, so that it is its
// own CA.
func writeCertificate(t *testing.T, c tls.Certificate) transport.Files {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	return transport.Files{
		Cert: writeFile(t, "cert", cert),
		Key:  writeFile(t, "key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		CA:   writeFile(t, "ca", cert),
	}
}
