package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/topo/netns"
)

// TestMain lets the test program be weir-topo itself.
func TestMain(m *testing.M) {
	if os.Getenv("WEIR_TOPO_TEST") == "main" {
		main()
		os.Exit(0)
	}
	leaktest.Main(m)
}

// Names of topologies, of this process alone: another may run the same tests.
var (
	pair, interrupted = own("pair"), own("intr")
	one, two          = own("one"), own("two")
)

func own(name string) string { return name + strconv.Itoa(os.Getpid()) }

// cli prepares a weir-topo command with a state folder of the test's own.
func cli(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"--state", root}, args...)...)
	cmd.Env = append(os.Environ(), "WEIR_TOPO_TEST=main")
	return cmd
}

// mustCLI runs weir-topo and returns its output.
func mustCLI(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, err := cli(t, root, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("weir-topo %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// exitCode runs weir-topo and returns its exit code and output.
func exitCode(t *testing.T, root string, args ...string) (int, string) {
	t.Helper()
	out, err := cli(t, root, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0, string(out)
	}
	return exit.ExitCode(), string(out)
}

// left lists what remains of instance id.
func left(t *testing.T, root, id string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(netns.Dir, "weir-"+id+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(root, id))
	if err != nil {
		t.Fatal(err)
	}
	return append(found, more...)
}

func TestUpExecDumpDown(t *testing.T) {
	root := t.TempDir()
	out := mustCLI(t, root, "up", "testdata/pair.yaml", "--name", pair)
	t.Cleanup(func() { _, _ = exitCode(t, root, "down", pair) })
	if !strings.Contains(out, "left/sleeper runs") || !strings.Contains(out, "weir-topo down "+pair) {
		t.Errorf("up says\n%s", out)
	}
	if got := mustCLI(t, root, "exec", "left", "--", "ip", "-4", "-o", "addr", "show", "eth1"); !strings.Contains(got, "192.0.2.1/24") {
		t.Errorf("exec shows %q", got)
	}
	if got := mustCLI(t, root, "exec", "right", "sh", "-c", "echo $WEIR_SOCKET"); strings.TrimSpace(got) != filepath.Join(root, pair, "right/weir.sock") {
		t.Errorf("WEIR_SOCKET is %q", got)
	}
	cmd := cli(t, root, "exec", "left", "--", "sh", "-c", "read line; echo got $line; exit 42")
	cmd.Stdin = strings.NewReader("input\n")
	b, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 42 || string(b) != "got input\n" {
		t.Errorf("exec gave %v and %q, want exit code 42 and the input", err, b)
	}
	if got := mustCLI(t, root, "list"); !strings.Contains(got, pair) || !strings.Contains(got, "kept") {
		t.Errorf("list shows\n%s", got)
	}
	evidence := t.TempDir()
	mustCLI(t, root, "dump", "left", "--to", evidence)
	for file, want := range map[string]string{"ip-addr.txt": "192.0.2.1/24", "sleeper.log": "good night", "ip-link.txt": "RX:", "iptables.txt": "# iptables-save -c"} {
		if b, err := os.ReadFile(filepath.Join(evidence, "left", file)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("evidence %s lacks %q: %v\n%s", file, want, err, b)
		}
	}
	if out := mustCLI(t, root, "down"); !strings.Contains(out, pair+" is down") {
		t.Errorf("down says %q", out)
	}
	if got := left(t, root, pair); len(got) > 0 {
		t.Errorf("down left %v", got)
	}
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			root := t.TempDir()
			cmd := cli(t, root, "up", "testdata/pair.yaml", "--name", interrupted, "--var", "ready=/nowhere")
			var errout strings.Builder
			cmd.Stderr = &errout
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// From this line on it starts processes and waits for them.
			s := bufio.NewScanner(out)
			for s.Scan() && !strings.Contains(s.Text(), "certificates") {
			}
			began := time.Now()
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			for s.Scan() {
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("up ended with %v, want exit code 1", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("cleaning up took %s", took)
			}
			if !strings.Contains(errout.String(), "context canceled") {
				t.Errorf("up says %q", errout.String())
			}
			if got := left(t, root, interrupted); len(got) > 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}

func TestDownAll(t *testing.T) {
	root := t.TempDir()
	for _, id := range []string{one, two} {
		mustCLI(t, root, "up", "testdata/pair.yaml", "--name", id, "--no-processes")
	}
	if code, out := exitCode(t, root, "exec", "left", "--", "true"); code != 2 || !strings.Contains(out, "choose one with --name") {
		t.Errorf("exec with two up: %d, %s", code, out)
	}
	if code, out := exitCode(t, root, "up", "testdata/pair.yaml", "--name", one); code != 1 || !strings.Contains(out, "it is there already") {
		t.Errorf("a second %s: %d, %s", one, code, out)
	}
	mustCLI(t, root, "exec", "--name", two, "left", "--", "true")
	mustCLI(t, root, "down", "--all")
	for _, id := range []string{one, two} {
		if got := left(t, root, id); len(got) > 0 {
			t.Errorf("down --all left %v", got)
		}
	}
}

func TestExitCodes(t *testing.T) {
	root := t.TempDir()
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("name: bad\nnodes:\n  a: {role: cow}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no page", []string{"up"}, 2, "weir-topo up --help"},
		{"unknown flag", []string{"up", "one-lb", "--wrong", "x"}, 2, "--wrong"},
		{"unknown page", []string{"up", "one-bl"}, 1, "one-lb"},
		{"bad page", []string{"up", bad}, 1, `bad.yaml:3: nodes.a.role: unknown role "cow"`},
		{"bad id", []string{"up", "one-lb", "--name", "A-b"}, 1, "use 1 to 12 of a-z and 0-9"},
		{"bad variable", []string{"up", "one-lb", "--var", "x"}, 2, "write name=value"},
		{"no folder of programs", []string{"up", "one-lb", "--bin", "/nowhere"}, 2, "read --bin"},
		{"no folder of programs to run", []string{"run", "one-lb", "--bin", "/nowhere"}, 2, "read --bin"},
		{"no command", []string{"exec", "a", "--"}, 2, "no command given"},
		{"nothing is up", []string{"exec", "a", "b"}, 1, "`weir-topo up article` builds one"},
		{"unknown topology", []string{"down", "nosuch"}, 1, "no such topology"},
		{"help teaches", []string{"exec", "--help"}, 0, "weirctl get lb"},
		{"graph", []string{"graph", "article"}, 0, "sw80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if code, out := exitCode(t, root, tt.args...); code != tt.code || !strings.Contains(out, tt.says) {
				t.Errorf("exit code %d, want %d with %q:\n%s", code, tt.code, tt.says, out)
			}
		})
	}
}
