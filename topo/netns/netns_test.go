package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// mustNew makes a namespace that ends with the test.
func mustNew(t *testing.T, suffix string) *NetNS {
	t.Helper()
	name := fmt.Sprintf("weirt-netns-%d-%s", os.Getpid(), suffix)
	n, err := New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(Delete(name), n.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func interfaces(t *testing.T) []string {
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

func TestOfProcess(t *testing.T) {
	n := mustNew(t, "process")
	var sleeper *exec.Cmd
	if err := n.Do(func() error {
		sleeper = exec.Command("sleep", "60")
		return sleeper.Start()
	}); err != nil {
		t.Fatal(err)
	}
	found, err := OfProcess(sleeper.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if found.id != n.id {
		t.Errorf("a process of namespace %v is in %v", n.id, found.id)
	}
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait() // that it was killed
	if err := found.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OfProcess(sleeper.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the namespace of a process that has ended: %v, want ErrNotExist", err)
	}
}

func TestDoRunsInsideAndComesBack(t *testing.T) {
	n := mustNew(t, "do")
	outside := interfaces(t)
	var inside []string
	if err := n.Do(func() error { inside = interfaces(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(inside, "lo") || slices.Contains(inside, "eth0") {
		t.Errorf("a new namespace has %v, want loopback and no machine's interface", inside)
	}
	for range 20 {
		if got := interfaces(t); !slices.Equal(got, outside) {
			t.Fatalf("after Do a thread sees %v, want %v", got, outside)
		}
	}
	sentinel := errors.New("of f")
	if err := n.Do(func() error { return sentinel }); !errors.Is(err, sentinel) {
		t.Errorf("Do returned %v, want f's error", err)
	}
}

func TestNewRefusesTakenName(t *testing.T) {
	n := mustNew(t, "taken")
	if _, err := New(n.Name()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("New of a taken name: %v, want %v", err, fs.ErrExist)
	}
}

func TestDeleteIsIdempotent(t *testing.T) {
	if err := Delete("weir-nstest-absent"); err != nil {
		t.Error(err)
	}
}

func TestProcessesFindsMembers(t *testing.T) {
	n, other := mustNew(t, "members"), mustNew(t, "others")
	cmd := exec.Command("sleep", "60")
	if err := n.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	got, err := Processes(n)
	if err != nil || !slices.Equal(got, []int{cmd.Process.Pid}) {
		t.Errorf("Processes = %v, %v, want %d", got, err, cmd.Process.Pid)
	}
	if got, err := Processes(other); err != nil || len(got) != 0 {
		t.Errorf("Processes of the other namespace = %v, %v, want none", got, err)
	}
}

func TestIPNetnsSeesTheName(t *testing.T) {
	n := mustNew(t, "ip")
	out, err := exec.Command("ip", "netns", "exec", n.Name(), "ip", "-o", "link").CombinedOutput()
	if err != nil {
		t.Fatalf("ip netns exec: %v: %s", err, out)
	}
}
