package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// side issues a certificate and returns it ready for use.
func side(t *testing.T, a *Authority, name string, addrs ...netip.Addr) tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := a.Issue(name, addrs, cert, key); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{cert, key} {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", f, st, err)
		}
	}
	c, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(t *testing.T, a *Authority) *x509.CertPool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := a.WriteCA(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		t.Fatal("ca.crt holds no certificate")
	}
	return p
}

func mustAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := New("weir-topo test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestMutualTLS(t *testing.T) {
	a, stranger := mustAuthority(t), mustAuthority(t)
	addr := netip.MustParseAddr("192.168.80.10")
	server := side(t, a, "master1", addr)
	tests := []struct {
		name       string
		client     tls.Certificate
		serverName string
		want       bool
	}{
		{"a client of the same authority, by address", side(t, a, "kube-weir"), "192.168.80.10", true},
		{"by name", side(t, a, "kube-weir"), "master1", true},
		{"another address", side(t, a, "kube-weir"), "192.168.80.11", false},
		{"a client of another authority", side(t, stranger, "kube-weir"), "192.168.80.10", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{server}, ClientCAs: pool(t, a), ClientAuth: tls.RequireAndVerifyClientCert,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			served := make(chan error, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					err = c.(*tls.Conn).Handshake()
					c.Close()
				}
				served <- err
			}()
			c, clientErr := tls.Dial("tcp", l.Addr().String(), &tls.Config{
				Certificates: []tls.Certificate{tt.client}, RootCAs: pool(t, a), ServerName: tt.serverName,
			})
			if clientErr == nil {
				defer c.Close()
			}
			if ok := clientErr == nil && <-served == nil; ok != tt.want {
				t.Errorf("handshake succeeded: %t, want %t (client: %v)", ok, tt.want, clientErr)
			}
		})
	}
}
