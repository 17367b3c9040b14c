package transport

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHeldRotates has a server use other certificates from one connection to
// the next.
func TestHeldRotates(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	hour := time.Now().Add(time.Hour)
	var held Held
	set := func(f Files) error { return held.Set(mustRead(t, f.Cert), mustRead(t, f.Key), mustRead(t, f.CA)) }
	if err := Lacking(&held); err == nil || err.Error() != "no certificates yet" {
		t.Errorf("before: %v", err)
	}
	held.Lack(errors.New("nobody made them"))
	if err := Lacking(&held); err == nil || err.Error() != "no certificates yet: nobody made them" {
		t.Errorf("before: %v", err)
	}
	if err := set(before.issue("server", hour)); err != nil {
		t.Fatal(err)
	}
	addr := echo(t, &held)
	if got, err := word(addr, mustClient(t, before.issue("client", hour))); err != nil || got != "ok" {
		t.Errorf("got %q, %v", got, err)
	}
	broken := before.issue("broken", hour)
	broken.Key = broken.CA
	held.Lack(errors.New("the Secret is gone"))
	if err := set(broken); err == nil || Lacking(&held) != nil {
		t.Errorf("what stands must be used on: %v, %v", err, Lacking(&held))
	}
	if err := set(after.issue("server", hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := word(addr, mustClient(t, after.issue("client", hour))); err != nil || got != "ok" {
		t.Errorf("the new CA: %q, %v", got, err)
	}
	if _, err := word(addr, mustClient(t, before.issue("late", hour))); err == nil {
		t.Error("a client of the old CA is still let in")
	}
}

func TestAwaitTCPWaitsForAllFiles(t *testing.T) {
	there := newAuthority(t).issue("server", time.Now().Add(time.Hour))
	folder := t.TempDir()
	files := Files{Cert: folder + "/tls.crt", Key: folder + "/tls.key", CA: folder + "/ca.crt"}
	put := func(from, to string) {
		if err := os.WriteFile(to, mustRead(t, from), 0o600); err != nil {
			t.Error(err)
		}
	}
	var reasons []string
	l, err := AwaitTCP(t.Context(), "127.0.0.1:0", files, func(why error) {
		reasons = append(reasons, why.Error())
		switch len(reasons) { // half of a Secret, then all of it
		case 1:
			put(there.Cert, files.Cert)
		case 2:
			put(there.Key, files.Key)
			put(there.CA, files.CA)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if len(reasons) != 2 || !strings.Contains(reasons[0], "tls.crt: no such file") || !strings.Contains(reasons[1], "tls.key: no such file") {
		t.Errorf("told %q", reasons)
	}
}

func TestAwaitTCPEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := AwaitTCP(ctx, "127.0.0.1:0", &Held{}, func(error) { cancel() })
	if l != nil || err != nil {
		t.Errorf("got %v, %v", l, err)
	}
}
