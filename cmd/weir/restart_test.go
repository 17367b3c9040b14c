package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

// startProcess runs weir --peer as a process of its own, in a network namespace
// of its own, which kill ends at once.
func startProcess(t *testing.T, socket, stateDir string) (api *client.Client, pid int, kill func()) {
	t.Helper()
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = []string{asNobody + "=--peer --listen= --gobgp-api= --socket=" + socket + " --state-dir=" + stateDir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("weir said: %s", stderr.String())
		}
	})
	api = mustClient(t, client.Options{Socket: socket})
	waittest.Until(t, "weir answers", func() bool { return api.Healthy(context.Background()) == nil })
	return api, cmd.Process.Pid, kill
}

// TestSIGKILLForgetsNothing kills weir right after its answer, and starts it
// again with nobody there to send anything.
func TestSIGKILLForgetsNothing(t *testing.T) {
	socket, dir := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "state")
	ctx := context.Background()
	state := v1.NodeState{Services: []v1.Service{{
		Frontend: v1.Frontend{VIP: netip.MustParseAddr("192.0.2.1"), Port: 80, Protocol: v1.TCP}, Mode: v1.ModeFullNAT,
	}}}
	for sequence := range uint64(4) {
		api, _, kill := startProcess(t, socket, dir)
		states, err := api.States(ctx)
		if err != nil || states["controller"].Generation.Sequence != sequence {
			t.Fatalf("start %d: holds %+v, %v", sequence, states, err)
		}
		if sequence > 0 {
			s, err := api.Services(ctx)
			if err != nil || len(s) != 1 || s[0].Port != 80 {
				t.Errorf("start %d: services %+v, %v", sequence, s, err)
			}
			waittest.Until(t, "the state is in force", func() bool {
				o, err := api.Observed(ctx)
				return err == nil && len(o.Owners) == 1 && o.Owners[0].Applied == o.Owners[0].Desired
			})
		}
		state.Generation.Sequence = sequence + 1
		if _, err := api.PutState(ctx, "controller", state); err != nil {
			t.Fatal(err)
		}
		kill()
	}
}

func TestADamagedStateFileStopsTheStart(t *testing.T) {
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "run", "s")
	var stderr bytes.Buffer
	code := run([]string{"--peer", "--listen=", "--gobgp-api=", "--socket=" + socket, "--state-dir=" + dir}, &stderr, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "move the file away") || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("exit %d: %q", code, stderr.String())
	}
	if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
		t.Errorf("the socket's folder was made: %v", err)
	}
}
