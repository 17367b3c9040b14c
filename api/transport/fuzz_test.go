package transport

import (
	"bytes"
	"crypto"
	"os"
	"strings"
	"testing"
	"time"
)

// FuzzParseListen holds that an address which is taken is one, as it prints itself,
// and that without certificates nobody but this machine can come.
func FuzzParseListen(f *testing.F) {
	for _, seed := range []string{
		":11111", "0.0.0.0:11111", "[::]:11111", "127.0.0.1:0", "[fe80::1%eth0]:1", "localhost:80", "192.0.2.1", "192.0.2.1:65536", "[::ffff:127.0.0.1]:1", "::1:80", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseListen(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "listen on ") {
				t.Fatalf("refused by %q", err)
			}
			return
		}
		if again, err := parseListen(at.String()); err != nil || again != at {
			t.Fatalf("%q is %s, which is %s, %v", text, at, again, err)
		}
		if own, err := loopback(at); err == nil && (!own.Addr().IsLoopback() || own.Port() != at.Port()) {
			t.Fatalf("without certificates %q listens on %s", text, own)
		}
	})
}

// FuzzCredentials holds that a certificate which is taken has its own key and an
// authority beside it, and that what is not taken changes nothing.
func FuzzCredentials(f *testing.F) {
	files := newAuthority(f).issue("seed", time.Now().Add(time.Hour))
	var pem [3][]byte
	for i, name := range []string{files.Cert, files.Key, files.CA} {
		var err error
		if pem[i], err = os.ReadFile(name); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(pem[0], pem[1], pem[2])
	f.Add(append(bytes.Clone(pem[0]), pem[2]...), pem[1], pem[2])
	f.Add(pem[2], pem[1], pem[2])
	f.Add(pem[1], pem[0], pem[2])
	f.Add(pem[0], pem[1], []byte("-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, cert, key, ca []byte) {
		var h Held
		if err := h.Set(cert, key, ca); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than a line: %q", err)
			}
			if _, _, err := h.Load(); err == nil {
				t.Fatal("what was refused is held")
			}
			return
		}
		pair, _, err := h.Load()
		if err != nil {
			t.Fatal(err)
		}
		signer, ok := pair.PrivateKey.(crypto.Signer)
		public, has := pair.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !has || !public.Equal(signer.Public()) {
			t.Fatal("the key is not the certificate's")
		}
		if h.Set(cert, key, nil) == nil {
			t.Fatal("taken without an authority")
		}
		if err := h.Set(cert, nil, ca); err == nil {
			t.Fatal("taken without a key")
		}
		if kept, _, err := h.Load(); err != nil || !bytes.Equal(kept.Certificate[0], pair.Certificate[0]) {
			t.Fatalf("a refusal changed what was held: %v", err)
		}
	})
}
