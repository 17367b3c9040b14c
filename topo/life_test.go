package topo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/spec"
)

// traces lists what the topology id could leave on the machine: namespaces,
// state folder, and processes that have the folder in their command line or
// the namespaces as theirs.
func traces(t *testing.T, root, id string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(netns.Dir, namespace(id, "*")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, id)); err == nil {
		found = append(found, "folder "+id)
	}
	envs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range envs {
		b, err := os.ReadFile(e)
		if err == nil && strings.Contains(string(b), "WEIR_SOCKET="+filepath.Join(root, id)) {
			found = append(found, e)
		}
	}
	return found
}

func rootInterfaces(t *testing.T) []string {
	t.Helper()
	ifs, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range ifs {
		names = append(names, i.Name)
	}
	return names
}

func TestDownLeavesNothing(t *testing.T) {
	root, before := t.TempDir(), rootInterfaces(t)
	lab, err := Up(within(t, 20*time.Second), mustLoad(t), Options{Root: root, Vars: testVars(t)})
	if err != nil {
		t.Fatal(err)
	}
	pod := lab.Node("pod")
	// A daemon that left its process group, as `weir-topo exec` may leave one.
	if _, err := pod.Run(t.Context(), "sh", "-c", "setsid sleep 300 >/dev/null 2>&1 &"); err != nil {
		t.Fatal(err)
	}
	if got := traces(t, root, lab.ID()); len(got) < len(lab.Page.Order)+3 {
		t.Errorf("while up there are only %v", got)
	}
	if err := lab.Down(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := traces(t, root, lab.ID()); len(got) > 0 {
		t.Errorf("down left %v", got)
	}
	if after := rootInterfaces(t); !slices.Equal(before, after) {
		t.Errorf("the machine's interfaces were %v and are %v", before, after)
	}
}

// cancelAt cancels when a line with text is written.
type cancelAt struct {
	text   string
	cancel context.CancelFunc
}

func (c cancelAt) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.text) {
		c.cancel()
	}
	return len(b), nil
}

func TestCancelledUpLeavesNothing(t *testing.T) {
	for _, at := range []string{"namespaces:", "links:", "routes", "kube-proxy", "certificates"} {
		t.Run(at, func(t *testing.T) {
			root := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := Up(ctx, mustLoad(t), Options{Root: root, Name: "cancelled", Vars: testVars(t), Progress: cancelAt{at, cancel}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Up returned %v, want %v", err, context.Canceled)
			}
			if got := traces(t, root, "cancelled"); len(got) > 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}

func TestFailedStartShowsTheLogAndLeavesNothing(t *testing.T) {
	tests := []struct {
		name, command string
		ready         spec.Ready
		want          []string
	}{
		{"it ends at once", `sh -c "echo first; echo last words >&2; exit 7"`, spec.Ready{File: "/nowhere"}, []string{"it ended", "| first", "| last words"}},
		{"it never gets ready", `sh -c "echo waiting; exec sleep 300"`, spec.Ready{TCP: "127.0.0.1:9", Timeout: 200 * time.Millisecond}, []string{"deadline exceeded", "| waiting"}},
		{"it is not there", "no-such-program", spec.Ready{File: "/nowhere"}, []string{"build or install it"}},
		{"a variable is unknown", "sh {{.Vars.nothing}}", spec.Ready{File: "/nowhere"}, []string{"nothing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, page := t.TempDir(), mustLoad(t)
			page.Nodes["pod"].Processes = []spec.Process{{Name: "broken", Command: tt.command, Ready: &tt.ready}}
			_, err := Up(within(t, 20*time.Second), page, Options{Root: root, Name: "broken"})
			if err == nil {
				t.Fatal("Up succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
			if got := traces(t, root, "broken"); len(got) > 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}

func TestProcessesRestart(t *testing.T) {
	lab := mustUp(t, Options{})
	serve := lab.Node("pod").Process("serve")
	ctx := within(t, 10*time.Second)
	end := map[string]func(context.Context) error{"kill": serve.Kill, "stop": serve.Stop}
	for _, how := range []string{"kill", "stop"} {
		before := serve.PID()
		if err := serve.Launch(); err == nil || !strings.Contains(err.Error(), "runs already") {
			t.Errorf("a second start: %v, want a refusal", err)
		}
		if err := end[how](ctx); err != nil {
			t.Fatal(err)
		}
		if serve.Running() || serve.PID() != 0 {
			t.Errorf("after %s it runs", how)
		}
		if _, _, err := ask(within(t, time.Second), lab.Node("client"), "tcp", "192.0.2.10:30080"); err == nil {
			t.Errorf("after %s it answers", how)
		}
		if err := serve.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if now := serve.PID(); now == 0 || now == before {
			t.Errorf("process %d after %d", now, before)
		}
		if _, _, err := ask(within(t, 5*time.Second), lab.Node("client"), "tcp", "192.0.2.10:30080"); err != nil {
			t.Errorf("after %s and start: %v", how, err)
		}
	}
	log, err := os.ReadFile(serve.Log())
	if err != nil || strings.Count(string(log), "serving") != 3 {
		t.Errorf("log of three starts: %q, %v", log, err)
	}
}

func TestKeptTopologyIsFoundAgain(t *testing.T) {
	root := t.TempDir()
	lab, err := Up(within(t, 20*time.Second), mustLoad(t), Options{Root: root, Vars: testVars(t), Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	id := lab.ID()
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	again, err := Open(root, id)
	if err != nil {
		t.Fatalf("after a sweep: %v", err)
	}
	serve := again.Node("pod").Process("serve")
	if !serve.Running() {
		t.Error("its process does not run")
	}
	// Who started it has usually ended, and init takes its place; here that is we.
	child := serve.PID()
	defer func() { _, _ = syscall.Wait4(child, nil, 0, nil) }()
	got, _, err := ask(within(t, 5*time.Second), again.Node("client"), "tcp", "192.0.2.10:30080")
	if want := "served by pod of " + id; err != nil || got != want {
		t.Errorf("answer %q, %v, want %q", got, err, want)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := Remove(within(t, 10*time.Second), root, id); err != nil {
		t.Fatal(err)
	}
	if got := traces(t, root, id); len(got) > 0 {
		t.Errorf("left %v", got)
	}
	if err := Remove(t.Context(), root, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing it twice: %v, want %v", err, ErrNotFound)
	}
}

// owner runs a process that owns a topology, and returns when it is up.
func owner(t *testing.T, root, id string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(testVars(t)["self"])
	cmd.Env = append(os.Environ(), "TOPO_TEST_ROLE=owner", "TOPO_TEST_ROOT="+root, "TOPO_TEST_ID="+id)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	s := bufio.NewScanner(out)
	for s.Scan() {
		if s.Text() == "up" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return cmd
		}
	}
	t.Fatal("the owner brought nothing up")
	return nil
}

func TestSweepAfterKilledOwner(t *testing.T) {
	root := t.TempDir()
	live := mustUp(t, Options{Root: root})
	cmd := owner(t, root, "killed")
	if err := Sweep(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), root, "killed"); err == nil || !strings.Contains(err.Error(), "owns it and is alive") {
		t.Errorf("removing what a living process owns: %v, want a refusal", err)
	}
	lab, err := Open(root, "killed")
	if err != nil {
		t.Fatalf("a sweep or a refused removal took a living owner's topology: %v", err)
	}
	serve := lab.Node("pod").Process("serve")
	if _, err := lab.Node("pod").Run(t.Context(), "sh", "-c", "setsid sleep 300 >/dev/null 2>&1 &"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed: the status says so
	if err := serve.Wait(within(t, 5*time.Second)); err != nil {
		t.Errorf("a process outlives its killed owner: %v", err)
	}
	if err := lab.Close(); err != nil {
		t.Error(err)
	}
	if got := traces(t, root, "killed"); len(got) == 0 {
		t.Fatal("nothing is left to sweep")
	}
	// The next Up sweeps.
	mustUp(t, Options{Root: root, NoProcesses: true})
	if got := traces(t, root, "killed"); len(got) > 0 {
		t.Errorf("the sweep left %v", got)
	}
	if _, _, err := ask(within(t, 5*time.Second), live.Node("client"), "tcp", "192.0.2.10:30080"); err != nil {
		t.Errorf("the sweep did harm to a living topology: %v", err)
	}
}

func TestTerminatedOwnerLeavesNothing(t *testing.T) {
	root := t.TempDir()
	cmd := owner(t, root, "ended")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := traces(t, root, "ended"); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

func TestDownUnmounts(t *testing.T) {
	root := t.TempDir()
	lab, err := Up(t.Context(), mustLoad(t), Options{Root: root, NoProcesses: true})
	if err != nil {
		t.Fatal(err)
	}
	point := filepath.Join(lab.Node("worker").Dir(), "bpf")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("bpf", point, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := lab.Down(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := traces(t, root, lab.ID()); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

// TestOtherFoldersNamesAreSafe: the same id under two state folders is the
// same names of namespaces.
func TestOtherFoldersNamesAreSafe(t *testing.T) {
	lab := mustUp(t, Options{NoProcesses: true})
	root := t.TempDir()
	_, err := Up(t.Context(), mustLoad(t), Options{Root: root, Name: lab.ID()})
	if err == nil || !strings.Contains(err.Error(), "of another state folder") {
		t.Errorf("Up returned %v, want a refusal", err)
	}
	if _, err := os.Stat(filepath.Join(root, lab.ID())); err == nil {
		t.Error("the refused topology left its folder")
	}
	if got := traces(t, root, lab.ID()); len(got) != len(lab.Page.Order) {
		t.Errorf("of %d namespaces %v are left", len(lab.Page.Order), got)
	}
}

func TestListTellsStates(t *testing.T) {
	root := t.TempDir()
	lab := mustUp(t, Options{Root: root, NoProcesses: true})
	got, err := List(root)
	if err != nil || len(got) != 1 || got[0].ID != lab.ID() || got[0].State != StateOwned || got[0].PID != os.Getpid() {
		t.Errorf("List = %+v, %v", got, err)
	}
	if err := lab.inst.release(); err != nil { // as if the owner had crashed
		t.Fatal(err)
	}
	if got, err := List(root); err != nil || len(got) != 1 || got[0].State != StateStale {
		t.Errorf("List after a crash = %+v, %v", got, err)
	}
}
