package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-lb/weir/api/client"
	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/cmd/internal/certtest"
	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/internal/waittest"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	for _, instead := range []func() (bool, int){runAsWeir, runAsContainer} {
		if ran, code := instead(); ran {
			os.Exit(code)
		}
	}
	// Queues of peers that GoBGP has let go may stay (bgp/gobgp, TestMain).
	leaktest.Main(m, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
}

func TestCommandLine(t *testing.T) {
	rows := []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"--version", 0, "weir ", ""},
		{"-v", 0, "weir ", ""},
		{"--help", 0, "--egr-hooks", ""},
		{"--colour", 2, "", "unknown flag: --colour; see weir --help"},
		{"extra", 2, "", `unknown command "extra"`},
		{"--blacklist=(", 2, "", "read --blacklist: error parsing regexp"},
		{"--whitelist=[", 2, "", "read --whitelist: error parsing regexp"},
		{"--hook=generic", 2, "", `unknown hook "generic"; use auto, xdp or tc`},
		{"--log-level=loud", 2, "", `unknown level "loud"`},
		{"--max-flows=99", 2, "", "read --max-flows: size flow table: 99 entries are not within 4096 to 16777216; see weir --help"},
		{"--max-flows=20000000", 2, "", "20000000 entries are not within"},
		{"--max-flows=5000000000", 2, "", "value out of range; see weir --help"},
		{"--stay", 2, "", "read --stay: it is for --cleanup alone"},
		{"--prepare --pin-dir=", 2, "", "there is nothing to prepare without --pin-dir"},
		{"--tls-cert=x", 2, "", "give --tls-cert, --tls-key and --tls-ca together"},
	}
	for _, r := range rows {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(r.args), &stdout, &stderr)
		if code != r.code || !strings.Contains(stdout.String(), r.stdout) || !strings.Contains(stderr.String(), r.stderr) {
			t.Errorf("weir %s: exit %d, %q, %q", r.args, code, stdout.String(), stderr.String())
		}
	}
}

// parse returns the configuration of a command line.
func parse(t *testing.T, args ...string) config {
	t.Helper()
	var c config
	cmd := newCommand(io.Discard)
	cmd.ResetFlags()
	c.flags(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestArticleFlags(t *testing.T) {
	c := parse(t, "--bgp", "--egr-hooks", "--blacklist=cni[0-9a-z]|veth.|flannel.")
	if !c.bgp || c.peer || !c.egrHooks || c.only != nil {
		t.Errorf("got %+v", c)
	}
	for name, skipped := range map[string]bool{"cni0": true, "veth1a2b": true, "flannel.1": true, "eth0": false, "eth1": false} {
		if c.skip.MatchString(name) != skipped {
			t.Errorf("%s skipped: %v", name, !skipped)
		}
	}
	if c.socket != "/run/weir/weir.sock" || c.listen != "0.0.0.0:11111" || c.gobgpAPI != "127.0.0.1:50051" || c.hook != "auto" || c.nodeName == "" {
		t.Errorf("defaults %+v", c)
	}
}

func TestPeerImpliesBGP(t *testing.T) {
	if c := parse(t, "--peer"); !c.bgp || !c.peer {
		t.Errorf("got %+v", c)
	}
}

func TestLoxiLBSpellings(t *testing.T) {
	c := parse(t, "-b", "--loglevel=warning", "--blacklist=none", "--whitelist=none", "--tls-certificate=c", "--tls-key=k", "--tls-ca=a")
	if !c.bgp || c.level != slog.LevelWarn || c.skip != nil || c.only != nil || c.tls != (transport.Files{Cert: "c", Key: "k", CA: "a"}) {
		t.Errorf("got %+v", c)
	}
}

// startPeer runs a real peer, without a BGP configuration, in this network
// namespace: it opens a netlink socket and its API. It returns the socket and
// what ends the peer.
func startPeer(t *testing.T, args ...string) (c config, stop func()) {
	t.Helper()
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	socket := filepath.Join(t.TempDir(), "run", "weir.sock")
	c = parse(t, append([]string{"--peer", "--socket=" + socket, "--node-name=worker1", "--gobgp-api="}, args...)...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, c, quiet) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	api := mustClient(t, client.Options{Socket: socket})
	waittest.Until(t, "weir answers", func() bool { return api.Healthy(ctx) == nil })
	return c, stop
}

func mustClient(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPeerServes(t *testing.T) {
	c, stop := startPeer(t, "--listen=127.0.0.1:0")
	ctx := context.Background()
	v, err := mustClient(t, client.Options{Socket: c.socket}).Version(ctx)
	if err != nil || v.Node != "worker1" || v.Mode != v1.NodePeer {
		t.Errorf("got %+v, %v", v, err)
	}
	if err := serve(ctx, c, quiet); !errors.Is(err, transport.ErrInUse) {
		t.Errorf("a second weir on the socket: %v", err)
	}
	stop()
	if _, err := os.Lstat(filepath.Dir(c.socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// Who is asked by nobody works by the state file, until a signal.
func TestPeerWorksWithoutAPI(t *testing.T) {
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := serve(ctx, parse(t, "--peer", "--socket=", "--listen=", "--gobgp-api="), quiet); err != nil || ctx.Err() == nil {
		t.Errorf("it ended by itself: %v", err)
	}
}

func TestPeerServesOverMutualTLS(t *testing.T) {
	// A loopback address of this process alone, so that the port can be fixed.
	pid := os.Getpid()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 83, byte(pid >> 8), byte(pid)}), 11111)
	ours, theirs := certtest.Issue(t, at.Addr()), certtest.Issue(t, at.Addr())
	startPeer(t, "--listen="+at.String(), "--tls-cert="+ours.Cert, "--tls-key="+ours.Key, "--tls-ca="+ours.CA)
	foreign, distrusting := theirs, ours
	foreign.CA, distrusting.CA = ours.CA, theirs.CA
	rows := []struct {
		name, scheme string
		files        transport.Files
		want         string
	}{
		{"our certificate", "https", ours, ""},
		{"a certificate of another CA", "https", foreign, "the server refused our certificate; check --tls-cert"},
		{"a server of another CA", "https", distrusting, "the server's certificate is not of our CA; check --tls-ca"},
		{"without TLS", "http", transport.Files{}, "answered 400 Bad Request"},
	}
	for _, r := range rows {
		err := mustClient(t, client.Options{Server: r.scheme + "://" + at.String(), TLS: r.files}).Healthy(context.Background())
		if r.want == "" && err != nil || r.want != "" && (err == nil || !strings.Contains(err.Error(), r.want)) {
			t.Errorf("%s: got %v, want %q", r.name, err, r.want)
		}
	}
}

// TestPeerWaitsForItsCertificates starts a peer before the files of its
// certificates are there: it answers on its socket, and on TCP when they are.
func TestPeerWaitsForItsCertificates(t *testing.T) {
	pid := os.Getpid()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 84, byte(pid >> 8), byte(pid)}), 11111)
	there, folder := certtest.Issue(t, at.Addr()), t.TempDir()
	files := transport.Files{Cert: filepath.Join(folder, "tls.crt"), Key: filepath.Join(folder, "tls.key"), CA: filepath.Join(folder, "ca.crt")}
	startPeer(t, "--listen="+at.String(), "--tls-cert="+files.Cert, "--tls-key="+files.Key, "--tls-ca="+files.CA)
	for _, scheme := range []string{"https", "http"} {
		o := client.Options{Server: scheme + "://" + at.String()}
		if scheme == "https" {
			o.TLS = there
		}
		if err := mustClient(t, o).Healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody listens") {
			t.Errorf("%s without certificates: %v", scheme, err)
		}
	}
	for from, to := range map[string]string{there.Cert: files.Cert, there.Key: files.Key, there.CA: files.CA} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	api := mustClient(t, client.Options{Server: "https://" + at.String(), TLS: files})
	waittest.Until(t, "weir answers", func() bool { return api.Healthy(t.Context()) == nil })
}
