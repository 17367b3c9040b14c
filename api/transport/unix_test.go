package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func mustListen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := ListenUnix(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSocketIsForOwnerAndGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListen(t, path)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got.Type() != os.ModeSocket || got.Perm() != SocketMode {
		t.Errorf("mode %s, want a socket of %s", got, SocketMode)
	}
	if l.Addr().String() != path {
		t.Errorf("listens on %s, want %s", l.Addr(), path)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v (%v), want the socket alone", entries, err)
	}
}

func TestSocketWorksAndGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "listen")
	path := filepath.Join(dir, "s")
	l := mustListen(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder that was made is left behind (%v)", err)
	}
}

func TestFolderOfOthersStays(t *testing.T) {
	dir := t.TempDir()
	mustListen(t, filepath.Join(dir, "s")).Close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("folder holds %v (%v), want it empty and there", entries, err)
	}
}

// leaveStale leaves a socket as a killed process does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leaveStale(t, path)
	mustListen(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestLivingSocketIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	mustListen(t, path)
	_, err := ListenUnix(context.Background(), path)
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first listener lost its socket: %v", err)
	}
	conn.Close()
}

func TestFileIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ListenUnix(context.Background(), path)
	if err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("got %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "precious" {
		t.Error("the file is gone")
	}
}

// TestOneOfManyStarters holds that of processes that start at once over a stale
// socket exactly one gets it.
func TestOneOfManyStarters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leaveStale(t, path)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			l, err := ListenUnix(context.Background(), path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			errs[i] = err
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrInUse):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d listeners on one socket, want 1", won)
	}
}

func TestCloseLeavesTheSocketOfASuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := mustListen(t, path)
	// A person removed the socket by hand and started another process.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustListen(t, path)
	first.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the successor lost its socket: %v", err)
	}
	conn.Close()
}
