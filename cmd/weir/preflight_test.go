package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeerNeedsOneCapability(t *testing.T) {
	if err := peerMay(1 << unix.CAP_NET_ADMIN); err != nil {
		t.Error(err)
	}
	if err := peerMay(^uint64(0) &^ (1 << unix.CAP_NET_ADMIN)); err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without it: %v", err)
	}
}

// asNobody makes this test binary behave as weir.
const asNobody = "WEIR_TEST_ARGS"

// runAsWeir is what TestMain does instead of the tests in the child of
// TestRefusesToStartWithoutRights.
func runAsWeir() (ran bool, code int) {
	args, ok := os.LookupEnv(asNobody)
	if !ok {
		return false, 0
	}
	return true, run(strings.Fields(args), os.Stdout, os.Stderr)
}

// TestRefusesToStartWithoutRights runs weir as a user without capabilities.
func TestRefusesToStartWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	// A copy where that user may execute it: the build folder is root's.
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "weir")
	copyExecutable(t, binary)
	for args, want := range map[string][]string{
		"":       {"CAP_BPF is missing", "CAP_NET_ADMIN is missing", "CAP_NET_RAW is missing", "CAP_PERFMON is missing"},
		"--peer": {"CAP_NET_ADMIN is missing"},
	} {
		socket := filepath.Join(dir, "run", "weir.sock")
		cmd := exec.CommandContext(context.Background(), binary)
		cmd.Env = []string{asNobody + "=" + args + " --listen= --socket=" + socket}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("weir %s: exit %d, want 1: %s", args, code, stderr.String())
		}
		for _, word := range append(want, "nothing was touched") {
			if !strings.Contains(stderr.String(), word) {
				t.Errorf("weir %s: %q does not say %q", args, stderr.String(), word)
			}
		}
		if strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("weir %s: more than one line: %q", args, stderr.String())
		}
	}
}

// copyExecutable copies this test binary for everybody to execute.
func copyExecutable(t *testing.T, to string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, from); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
