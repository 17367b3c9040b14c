// Package certtest makes certificates for the tests of programs.
package certtest

import (
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/weir-lb/weir/api/transport"
	"github.com/weir-lb/weir/topo/pki"
)

// Issue makes an authority and a certificate of it for addr, until the test ends.
func Issue(t testing.TB, addr netip.Addr) transport.Files {
	t.Helper()
	dir := t.TempDir()
	f := transport.Files{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	ca, err := pki.New("test CA")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ca.WriteCA(f.CA), ca.Issue("test", []netip.Addr{addr}, f.Cert, f.Key)); err != nil {
		t.Fatal(err)
	}
	return f
}
