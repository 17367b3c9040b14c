package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// FuzzAuthority holds that whatever the Secrets have, there is an authority that
// signs now and is trusted, certificates that are verified by it, and an end of changes.
func FuzzAuthority(f *testing.F) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	young, _, err := Authority(Data{}, false, now)
	if err != nil {
		f.Fatal(err)
	}
	old, _, err := Authority(Data{}, false, now.Add(-authorityLife*3/4))
	if err != nil {
		f.Fatal(err)
	}
	leaf, _, err := Certificate(Data{}, Nodes, young, now)
	if err != nil {
		f.Fatal(err)
	}
	der := func(pemText []byte) []byte {
		block, _ := pem.Decode(pemText)
		return block.Bytes
	}
	add := func(current, next, node Data, settled bool) {
		args := make([][]byte, 0, 6)
		for _, d := range []Data{current, next, node} {
			for _, name := range []string{Cert, Key} {
				if len(d[name]) == 0 {
					args = append(args, nil)
					continue
				}
				args = append(args, der(d[name]))
			}
		}
		f.Add(args[0], args[1], args[2], args[3], args[4], args[5], young[Trusted], settled)
	}
	add(nil, nil, nil, false)
	add(young, nil, leaf, false)
	add(old, young, leaf, true)
	add(old, nil, leaf, false)
	add(leaf, young, young, false)
	add(young, leaf, nil, true)
	f.Fuzz(func(t *testing.T, cert, key, next, nextPrivate, node, nodeKey, bundle []byte, settled bool) {
		private := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}) }
		have := Data{Cert: encode(cert), Key: private(key), nextCert: encode(next), nextKey: private(nextPrivate), Trusted: bundle}
		before := maps.Clone(have)
		authority := rest(t, have, func(have Data) (Data, string, error) { return Authority(have, settled, now) })
		for name := range before {
			if !bytes.Equal(before[name], have[name]) {
				t.Fatalf("%s of what there was has changed", name)
			}
		}
		signs, err := readAuthority(authority[Cert], authority[Key], now)
		if err != nil || !contains(authority[Trusted], signs.cert) {
			t.Fatalf("the authority signs and is trusted: %v", err)
		}
		for _, c := range certificates(authority[Trusted]) {
			if !now.Before(c.NotAfter) {
				t.Fatalf("what ended at %s is trusted", c.NotAfter)
			}
		}
		got := rest(t, Data{Cert: encode(node), Key: private(nodeKey)}, func(have Data) (Data, string, error) {
			return Certificate(have, Nodes, authority, now)
		})
		shown, err := read(got[Cert], got[Key])
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(got[Trusted])
		if _, err := shown.cert.Verify(x509.VerifyOptions{DNSName: Nodes.Name, Roots: roots, CurrentTime: now, KeyUsages: Nodes.Purposes}); err != nil {
			t.Fatalf("the nodes' certificate is not believed: %v", err)
		}
	})
}

// rest decides until nothing changes, three times at most: a next authority is made,
// it signs, and its own next is made.
func rest(t *testing.T, have Data, decide func(Data) (Data, string, error)) Data {
	t.Helper()
	for range 4 {
		must, why, err := decide(have)
		if err != nil || strings.Contains(why, "\n") {
			t.Fatalf("decided by %q: %v", why, err)
		}
		if have = must; why == "" {
			return have
		}
	}
	t.Fatal("what is decided changes for ever")
	return nil
}
