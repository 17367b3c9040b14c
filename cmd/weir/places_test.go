package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// runApart runs weir to its end in namespaces of its own: what it does to
// routes is done to nobody's.
func runApart(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	if err := preflight(true); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = []string{asNobody + "=" + strings.Join(args, " ")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var out bytes.Buffer
	cmd.Stderr = &out
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String()
}

// A state folder that cannot be written stops the start: a restart would
// forget what it was told.
func TestAStateFolderThatCannotBeWrittenStopsTheStart(t *testing.T) {
	for name, row := range map[string]struct {
		flags         uintptr
		options, want string
	}{
		"read-only": {unix.MS_RDONLY, "", "read-only file system; choose another --state-dir"},
		"full":      {0, "nr_inodes=1", "no space left on device; choose another --state-dir"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "run", "s")
			if err := unix.Mount("weir-test", dir, "tmpfs", row.flags, row.options); err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			code, stderr := runApart(t, "--peer", "--listen=", "--gobgp-api=", "--socket="+socket, "--state-dir="+dir)
			if code != 1 || !strings.Contains(stderr, row.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d: %q, want %q", code, stderr, row.want)
			}
			if _, err := os.Stat(filepath.Dir(socket)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket's folder was made: %v", err)
			}
		})
	}
}

func TestCleanupRemovesTheStateFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state.json.new", "health.json", "health.json.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, stderr := runApart(t, "--cleanup", "--pin-dir=", "--state-dir="+dir); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		left, _ := os.ReadDir(dir)
		t.Errorf("left: %v, %v", left, err)
	}
}
