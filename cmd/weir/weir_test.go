package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-lb/weir/api/client"
	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// TestPeerServes runs a real peer, without a BGP configuration, in this
// network namespace: it opens a netlink socket and its API.
func TestPeerServes(t *testing.T) {
	f, err := readFacts()
	if err != nil {
		t.Fatal(err)
	}
	if missing := missing(true, f); missing != nil {
		t.Skip(strings.Join(missing, "; "))
	}
	socket := filepath.Join(t.TempDir(), "run", "weir.sock")
	c := parse(t, "--peer", "--socket="+socket, "--listen=127.0.0.1:0", "--node-name=worker1", "--gobgp-api=")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	done := make(chan error, 1)
	go func() { done <- serve(ctx, c, log) }()

	api, err := client.New(client.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	eventually(t, done, func() bool { return api.Healthy(ctx) == nil })
	if v, err := api.Version(ctx); err != nil || v.Node != "worker1" || v.Mode != v1.NodePeer {
		t.Errorf("got %+v, %v", v, err)
	}
	if err := serve(ctx, c, log); !errors.Is(err, transport.ErrInUse) {
		t.Errorf("a second weir on the socket: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Dir(socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// eventually polls until the condition holds, or serve has ended.
func eventually(t *testing.T, done <-chan error, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		case <-deadline.C:
			t.Fatal("waited 5 s in vain")
		case <-again.C:
		}
	}
}
