package transport

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// echo serves one word on each connection until the test ends.
func echo(t *testing.T, c Credentials) string {
	t.Helper()
	l, err := ListenTCP("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// A client that is refused closes the connection first.
			_, _ = io.WriteString(conn, "ok")
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// word connects and reads what the server says.
func word(addr string, conf *tls.Config) (string, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, conf)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// With TLS 1.3 a server refuses a certificate after the client's
	// handshake, so only reading tells.
	got, err := io.ReadAll(conn)
	return string(got), err
}

func mustClient(t *testing.T, f Files) *tls.Config {
	t.Helper()
	conf, err := Client(f, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	hour := time.Now().Add(time.Hour)
	addr := echo(t, ours.issue("server", hour))
	good := ours.issue("client", hour)
	foreign := theirs.issue("client", hour)
	foreign.CA = good.CA
	expired := ours.issue("expired", time.Now().Add(-time.Minute))
	distrusting := good
	distrusting.CA = theirs.issue("x", hour).CA

	nameless := mustClient(t, good)
	nameless.Certificates = nil
	old := mustClient(t, good)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	elsewhere := mustClient(t, good)
	elsewhere.ServerName = "192.0.2.1"

	rows := []struct {
		name    string
		conf    *tls.Config
		refused string // a word of the error; empty where it works
	}{
		{"a client of our CA", mustClient(t, good), ""},
		{"no certificate", nameless, "certificate required"},
		{"a certificate of another CA", mustClient(t, foreign), "unknown certificate authority"},
		{"an expired certificate", mustClient(t, expired), "expired certificate"},
		{"TLS 1.2", old, "protocol version"},
		{"a server of another CA", mustClient(t, distrusting), "unknown authority"},
		{"a server of another name", elsewhere, "not 192.0.2.1"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got, err := word(addr, r.conf)
			switch {
			case r.refused == "" && (err != nil || got != "ok"):
				t.Errorf("got %q, %v, want ok", got, err)
			case r.refused != "" && (err == nil || !strings.Contains(err.Error(), r.refused)):
				t.Errorf("got %q, %v, want an error with %q", got, err, r.refused)
			}
		})
	}
}

func TestCertificatesRotateInPlace(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	hour := time.Now().Add(time.Hour)
	files := before.issue("server", hour)
	addr := echo(t, files)
	oldClient := before.issue("client", hour)
	if _, err := word(addr, mustClient(t, oldClient)); err != nil {
		t.Fatal(err)
	}
	next := after.issue("server", hour)
	for from, to := range map[string]string{next.Cert: files.Cert, next.Key: files.Key, next.CA: files.CA} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	newClient := after.issue("client", hour)
	newClient.CA = files.CA
	if got, err := word(addr, mustClient(t, newClient)); err != nil || got != "ok" {
		t.Errorf("client of the new CA: %q, %v", got, err)
	}
	oldClient.CA = files.CA
	if _, err := word(addr, mustClient(t, oldClient)); err == nil {
		t.Error("a client of the old CA is still let in")
	}
}

func TestFilesAreAllOrNone(t *testing.T) {
	rows := []struct {
		files Files
		given bool
		err   bool
	}{
		{Files{}, false, false},
		{Files{Cert: "c", Key: "k", CA: "a"}, true, false},
		{Files{Cert: "c", Key: "k"}, false, true},
		{Files{CA: "a"}, false, true},
	}
	for _, r := range rows {
		given, err := r.files.Given()
		if given != r.given || (err != nil) != r.err {
			t.Errorf("%+v: got %v, %v", r.files, given, err)
		}
	}
}

func TestListenTCPWithoutCertificatesIsLoopback(t *testing.T) {
	rows := []struct{ addr, host, message string }{
		{"0.0.0.0:0", "127.0.0.1", ""},
		{":0", "127.0.0.1", ""},
		{"[::]:0", "127.0.0.1", ""},
		{"127.0.0.2:0", "127.0.0.2", ""},
		{"192.0.2.1:11111", "", "without certificates only loopback is allowed"},
		{"localhost:11111", "", "not ADDRESS:PORT"},
		{"11111", "", "not ADDRESS:PORT"},
	}
	for _, r := range rows {
		l, err := ListenTCP(r.addr, Files{})
		if r.message != "" {
			if err == nil || !strings.Contains(err.Error(), r.message) {
				t.Errorf("%s: got %v, want %q", r.addr, err, r.message)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", r.addr, err)
			continue
		}
		if host, _, _ := net.SplitHostPort(l.Addr().String()); host != r.host {
			t.Errorf("%s: listens on %s, want %s", r.addr, host, r.host)
		}
		l.Close()
	}
}

func TestListenTCPNamesAMissingFile(t *testing.T) {
	files := newAuthority(t).issue("server", time.Now().Add(time.Hour))
	if err := os.WriteFile(files.CA, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ListenTCP("127.0.0.1:0", files)
	if err == nil || !strings.Contains(err.Error(), files.CA+": no certificate in it") {
		t.Errorf("got %v", err)
	}
}
