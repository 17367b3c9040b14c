package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
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
	api, cmd, _ := startCommand(t, socket, stateDir)
	return api, cmd.Process.Pid, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// startCommand is startProcess for those who end it by themselves; what it says may
// be read when it has ended.
func startCommand(t *testing.T, socket, stateDir string) (api *client.Client, cmd *exec.Cmd, said *bytes.Buffer) {
	t.Helper()
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(context.Background(), self)
	cmd.Env = []string{asNobody + "=--peer --listen= --gobgp-api= --socket=" + socket + " --state-dir=" + stateDir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	said = &bytes.Buffer{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("weir said: %s", said.String())
		}
	})
	api = mustClient(t, client.Options{Socket: socket})
	waittest.Until(t, "weir answers", func() bool { return api.Healthy(context.Background()) == nil })
	return api, cmd, said
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

// TestSIGTERMOfADrainedNodeIsAStop ends weir by the signals that ask for it: what it was
// told stays for the next one, but where that says that the node is drained, which a
// weir that has only its state file knows too.
func TestSIGTERMOfADrainedNodeIsAStop(t *testing.T) {
	ctx := context.Background()
	for _, row := range []struct {
		says             string
		drained, restart bool
		signal           syscall.Signal
	}{
		{"like any", false, false, syscall.SIGTERM},
		{"drained", true, false, syscall.SIGTERM},
		{"drained, by Ctrl-C", true, false, syscall.SIGINT},
		{"killed before", true, true, syscall.SIGTERM},
	} {
		t.Run(row.says, func(t *testing.T) {
			socket, dir := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "state")
			api, cmd, said := startCommand(t, socket, dir)
			state := v1.NodeState{Generation: v1.Generation{Sequence: 1}, Drained: row.drained}
			if _, err := api.PutState(ctx, "controller", state); err != nil {
				t.Fatal(err)
			}
			if row.restart {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				_, cmd, said = startCommand(t, socket, dir)
			}
			if err := cmd.Process.Signal(row.signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			_, err := os.Stat(filepath.Join(dir, "state.json"))
			if stays := err == nil; stays == row.drained || strings.Contains(said.String(), "this node is drained") != row.drained {
				t.Errorf("its state stays: %t (%v)", stays, err)
			}
		})
	}
}

// firstLine waits for a line of log with text in it and returns what has been said until then.
func firstLine(t *testing.T, log *bufio.Reader, text string) (said string) {
	t.Helper()
	for {
		line, err := log.ReadString('\n')
		said += line
		if strings.Contains(line, text) {
			return said
		}
		if err != nil {
			t.Fatalf("no line has %q: %v; weir said: %s", text, err, said)
		}
	}
}

// TestSIGTERMWhileProgramsLoad ends weir while the verifier looks at its programs, which is not waited for: on a busy machine
// it takes seconds. A drained node's end is a stop all the same.
func TestSIGTERMWhileProgramsLoad(t *testing.T) {
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, drained := range []bool{false, true} {
		t.Run(fmt.Sprintf("drained %t", drained), func(t *testing.T) {
			socket, dir := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "state")
			api, _, kill := startProcess(t, socket, dir)
			if _, err := api.PutState(t.Context(), "controller", v1.NodeState{Generation: v1.Generation{Sequence: 1}, Drained: drained}); err != nil {
				t.Fatal(err)
			}
			kill()
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `echo 1 >/proc/sys/net/ipv4/ip_forward && exec "$0"`, self)
			cmd.Env = []string{asNobody + "=--listen= --gobgp-api= --pin-dir= --socket=" + socket + " --state-dir=" + dir}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			log := bufio.NewReader(stderr)
			said := firstLine(t, log, "api listens")
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(log)
			if said += string(rest); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			for text, want := range map[string]bool{"ends before it runs": !drained, "weir runs": drained, "this node is drained": drained} {
				if strings.Contains(said, text) != want {
					t.Errorf("%q was said: %t; weir said: %s", text, !want, said)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "state.json")); (err == nil) == drained {
				t.Errorf("its state: %v", err)
			}
		})
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
