package leaktest

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leakVariable makes this test program one whose tests leak.
const leakVariable = "LEAKTEST_LEAK"

// leaks are tests, as it were, that leave something behind.
var leaks = map[string]struct {
	leave func() error
	want  string
}{
	"nothing":   {func() error { return nil }, ""},
	"goroutine": {func() error { go func() { select {} }(); return nil }, "found unexpected goroutines"},
	"file": {func() error {
		_, err := os.CreateTemp("", "forgotten")
		return err
	}, "file "},
	"descriptor": {func() error { _, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0); return err }, "descriptor of /etc/passwd"},
	"socket": {func() error {
		_, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		return err
	}, "a netlink socket, type 3, protocol 0"},
	"listener": {func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		held = l
		return err
	}, "descriptor of a IPv4 socket, type 1, protocol "},
	"process": {func() error {
		cmd := exec.CommandContext(context.Background(), "sleep", "20")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		runtime.LockOSThread() // the signal comes with the end of this thread
		return cmd.Start()
	}, "sleep 20"},
	"namespace": {func() error {
		done := make(chan error)
		go leakNamespace(done)
		return <-done
	}, "a thread in the network namespace net:["},
	"mount": {func() error {
		dir := filepath.Join(os.TempDir(), "bpf")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		return unix.Mount("leaktest", dir, "bpf", 0, "")
	}, "mount "},
}

// leakNamespace keeps a thread in a network namespace of its own for good. The
// process's first thread would not count (see namespaces): whoever is scheduled
// there holds on to it and leaves the leak to another.
func leakNamespace(done chan<- error) {
	runtime.LockOSThread() // and never back: the thread ends with this goroutine, which does not
	if unix.Gettid() == unix.Getpid() {
		go leakNamespace(done)
	} else {
		done <- unix.Unshare(unix.CLONE_NEWNET)
	}
	select {}
}

// held keeps the collector from closing what leaks.
var held any

func TestMain(m *testing.M) {
	leak, ok := leaks[os.Getenv(leakVariable)]
	if !ok {
		Main(m)
	}
	flag.Parse()
	patience = 200 * time.Millisecond
	os.Exit(code(func() int {
		if err := leak.leave(); err != nil {
			println(err.Error())
			return 2
		}
		return 0
	}))
}

func TestEachLeakFailsTheTests(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, leak := range leaks {
		t.Run(name, func(t *testing.T) {
			if (name == "namespace" || name == "mount") && os.Geteuid() != 0 {
				t.Skip("only root makes one")
			}
			t.Parallel() // each waits for what may still go
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), leakVariable+"="+name)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run()
			code := cmd.ProcessState.ExitCode()
			if leak.want == "" && code != 0 || leak.want != "" && (code != 1 || !strings.Contains(out.String(), leak.want)) {
				t.Errorf("exit %d, want %q in %q", code, leak.want, out.String())
			}
		})
	}
}

// A search for what breaks a target ends by killing who searches.
func TestASearchMayLeaveSomething(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.fuzz=FuzzSomething")
	cmd.Env = append(os.Environ(), leakVariable+"=file")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Tests that failed are not told of leaks, which failures cause.
func TestAFailureComesFirst(t *testing.T) {
	if got := code(func() int { return 3 }); got != 3 {
		t.Errorf("exit %d, want 3", got)
	}
}
