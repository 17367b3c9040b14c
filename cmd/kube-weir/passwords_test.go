package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

func TestSetPasswords(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       v1.Password
		bad        string
	}{
		{"one", "192.168.80.1 s3cret\n", "s3cret", ""},
		{"comments, blanks in it", "# router\n\n192.168.80.1\t s3cret of two words \n", "s3cret of two words", ""},
		{"none", "", "", ""},
		{"no password", "192.168.80.1\n", "", "line 1: no blank"},
		{"no address", "\nrouter s3cret\n", "", "line 2: it does not begin with an address"},
		{"twice", "192.168.80.1 s3cret\n192.168.80.1 s3cret\n", "", "line 2: 192.168.80.1 is there twice"},
		{"of nobody", "192.168.80.2 s3cret\n", "", "192.168.80.2 is no external peer"},
		{"too long", "192.168.80.1 " + strings.Repeat("s3cret", 14) + "\n", "", "at most 80"},
	} {
		file := filepath.Join(t.TempDir(), "passwords")
		if err := os.WriteFile(file, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		peers := []controller.ExternalPeer{{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101}}
		err := setPasswords(peers, file)
		switch {
		case tt.bad == "" && (err != nil || peers[0].Password != tt.want):
			t.Errorf("%s: %v, or the wrong password", tt.name, err)
		case tt.bad != "" && (err == nil || !strings.Contains(err.Error(), tt.bad) || strings.Contains(err.Error(), "s3cret")):
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.bad)
		}
	}
	if err := setPasswords(nil, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := setPasswords(nil, ""); err != nil {
		t.Errorf("no file: %v", err)
	}
}
