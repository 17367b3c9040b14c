package dataplane

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps/mapstest"
	"github.com/weir-lb/weir/dataplane/plan"
	"github.com/weir-lb/weir/internal/waittest"
)

// pinDir is where a test pins; Clean takes everything away after it.
func pinDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bpf")
	t.Cleanup(func() { must(t, Clean(dir)) })
	return dir
}

func mustNew(t *testing.T, o Options) *Dataplane {
	t.Helper()
	d, err := New(o)
	must(t, err)
	d.writes = mapstest.Disturb(t, d.maps)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

// One run programs a service; the next adopts it: with the ids, without a step,
// and with nothing taken out before somebody says what is desired.
func TestARestartAdoptsServicesAndFlows(t *testing.T) {
	mustNetwork(t)
	o := Options{Hook: "tc", MaxFlows: 8192, PinDir: pinDir(t)}
	service := serviceOn(80, v1.TCP, v1.ModeFullNAT, podA, podB)
	first := mustNew(t, o)
	if first.Adopted() {
		t.Error("the first run adopted something")
	}
	mustApply(t, first, service)
	before, err := first.maps.Observe()
	must(t, err)
	generation, err := first.maps.NexthopGeneration()
	must(t, err)
	must(t, first.Close())
	if hooksOn(t, "eth1") == "" {
		t.Error("nothing is attached between the runs")
	}

	second := mustNew(t, o)
	if !second.Adopted() {
		t.Error("the second run adopted nothing")
	}
	second.follow() // as Run does it
	_, err = second.sweep(t.Context())
	must(t, err)
	if after, err := second.maps.Observe(); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("before anything was asked for, the maps have\n%v, want\n%v, %v", after, before, err)
	}
	mustApply(t, second, service)
	if after, err := second.maps.Observe(); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("with the same services, the maps have\n%v, want\n%v, %v", after, before, err)
	}
	if now, err := second.maps.NexthopGeneration(); err != nil || now <= generation {
		t.Errorf("next hop generation %d, %v; want more than %d", now, err, generation)
	}
	mustApply(t, second)
	after, err := second.maps.Observe()
	must(t, err)
	for _, step := range after {
		_, isService := step.(plan.PutService)
		if v, isVIP := step.(plan.PutVIP); isService || isVIP && !v.VIP.Retired {
			t.Errorf("without services, the maps have %+v", step)
		}
	}
}

// A connection outlives the last service of its VIP, through a restart too. The VIP is in
// the map until the connection has ended, and no longer.
func TestAConnectionOutlivesItsService(t *testing.T) {
	n := mustNetwork(t)
	var listener net.Listener
	n.a.Do(t, func() {
		var err error
		if listener, err = net.Listen("tcp4", ":8080"); err != nil {
			t.Error(err)
		}
	})
	defer listener.Close()
	o := Options{Hook: "tc", MaxFlows: 8192, PinDir: pinDir(t)}
	first := mustNew(t, o)
	first.follow()
	mustApply(t, first, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	var client net.Conn
	n.client.Do(t, func() {
		var err error
		if client, err = net.DialTimeout("tcp4", netip.AddrPortFrom(vip, 80).String(), 5*time.Second); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	defer client.Close()
	server, err := listener.Accept()
	must(t, err)
	defer server.Close()
	goesOn := func(d *Dataplane, when string) {
		t.Helper()
		for _, c := range [][2]net.Conn{{client, server}, {server, client}} {
			must(t, c[1].SetReadDeadline(time.Now().Add(5*time.Second)))
			got := make([]byte, len(when))
			if _, err := io.WriteString(c[0], when); err != nil {
				t.Fatalf("%s: %v", when, err)
			} else if _, err := io.ReadFull(c[1], got); err != nil || string(got) != when {
				t.Fatalf("%s: got %q, %v; %s", when, got, err, evidence(d))
			}
		}
	}
	vips := func(d *Dataplane) (held []plan.Step) { // after a sweep
		t.Helper()
		_, err := d.sweep(t.Context())
		must(t, err)
		steps, err := d.maps.Observe()
		must(t, err)
		for _, step := range steps {
			if _, isVIP := step.(plan.PutVIP); isVIP {
				held = append(held, step)
			}
		}
		return held
	}
	rests := []plan.Step{plan.PutVIP{Address: vip, VIP: plan.VIP{Retired: true}}}
	goesOn(first, "with the service")
	mustApply(t, first)
	graceEnds(t)
	if got := vips(first); !slices.Equal(got, rests) {
		t.Errorf("while a connection is to it, the VIPs are %+v, want %+v", got, rests)
	}
	goesOn(first, "without it")
	must(t, first.Close())
	second := mustNew(t, o)
	goesOn(second, "between two runs")
	second.follow()
	mustApply(t, second)
	graceEnds(t)
	if got := vips(second); !slices.Equal(got, rests) {
		t.Errorf("with the next run, the VIPs are %+v, want %+v", got, rests)
	}
	goesOn(second, "with the next run")
	second.removeFlows(t)
	waittest.Eventually(t, func() string {
		if left := vips(second); len(left) > 0 {
			return fmt.Sprintf("the map has %+v", left)
		}
		return ""
	})
}

// graceEnds waits until a sweep may free what nothing but flows names now.
func graceEnds(t *testing.T) {
	t.Helper()
	began := time.Now()
	waittest.Eventually(t, func() string {
		if time.Since(began) <= plan.Grace {
			return "its grace is not over"
		}
		return ""
	})
}

// Filters and routes tell nothing of whose pins they belong to: a second weir, or
// somebody who cleans up with another folder, must not take them for left ones.
func TestOneDataplaneHasTheNamespace(t *testing.T) {
	mustNetwork(t)
	d := mustNew(t, Options{Hook: "tc", MaxFlows: 4096})
	hooks := hooksOn(t, "eth1")
	const want = "another weir forwards here"
	if _, err := New(Options{Hook: "tc", MaxFlows: 4096}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second one: %v", err)
	}
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "bpf")} {
		if err := Clean(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cleaned %q: %v", dir, err)
		}
	}
	if now := hooksOn(t, "eth1"); now != hooks {
		t.Errorf("the first one has %q, had %q", now, hooks)
	}
	must(t, d.Close())
	must(t, Clean(""))
}

func TestNothingIsLeftAfterStop(t *testing.T) {
	mustNetwork(t)
	dir := pinDir(t)
	d := mustNew(t, Options{Hook: "xdp", MaxFlows: 8192, PinDir: dir})
	must(t, d.Stop())
	must(t, d.Close())
	if left := hooksOn(t, "eth1"); left != "" {
		t.Errorf("after Stop: %s", left)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the pin folder stays: %v", err)
	}
}

// A killed process leaves everything at work, and Clean takes all of it away.
func TestSIGKILLLeavesEverythingForTheNextRun(t *testing.T) {
	mustNetwork(t)
	dir := pinDir(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if _, err := New(Options{PinDir: dir}); err == nil || !strings.Contains(err.Error(), "another weir uses it") {
		t.Errorf("a second one beside it got %v", err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	for _, name := range []string{"eth1", "eth2", "eth3"} {
		if hooksOn(t, name) == "" {
			t.Errorf("nothing is attached to %s after SIGKILL", name)
		}
	}
	must(t, Clean(dir))
	for _, name := range []string{"eth1", "eth2", "eth3"} {
		if left := hooksOn(t, name); left != "" {
			t.Errorf("after Clean, %s has %s", name, left)
		}
	}
	must(t, Clean(dir)) // nothing there is success
}

// Whoever asks for another size is refused, and what is pinned serves on.
func TestAChangedFlowTableIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	mustNetwork(t)
	dir := pinDir(t)
	d := mustNew(t, Options{Hook: "tc", MaxFlows: 8192, PinDir: dir})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	must(t, d.Close())
	if _, err := New(Options{Hook: "tc", MaxFlows: 16384, PinDir: dir}); err == nil || !strings.Contains(err.Error(), "give --max-flows as before") {
		t.Errorf("got %v", err)
	}
	if hooksOn(t, "eth1") == "" {
		t.Error("the programs are gone")
	}
	again := mustNew(t, Options{Hook: "tc", MaxFlows: 8192, PinDir: dir})
	if _, stands := again.state.Service(v1.Frontend{VIP: vip, Port: 80, Protocol: v1.TCP}); !stands {
		t.Error("the service is gone")
	}
	if again.loaded.Maps[bpf.MapFlows].MaxEntries() != 8192 {
		t.Error("the flow table was replaced")
	}
}

// Where nothing can be pinned New refuses, and what an earlier run has left
// there serves on, as it was.
func TestAFolderThatCannotBeWrittenIsRefusedUntouched(t *testing.T) {
	mustNetwork(t)
	o := Options{Hook: "tc", MaxFlows: 8192, PinDir: pinDir(t)}
	first := mustNew(t, o)
	mustApply(t, first, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	must(t, first.Close())
	before := hooksOn(t, "eth1")
	remount := func(flags uintptr) { must(t, unix.Mount("", o.PinDir, "", unix.MS_REMOUNT|flags, "")) }
	remount(unix.MS_RDONLY)
	t.Cleanup(func() { remount(0) }) // before pinDir's own
	d, err := New(o)
	if err == nil {
		d.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "nothing was touched: read-only file system; mount it for writing") || strings.Contains(err.Error(), "\n") {
		t.Errorf("read-only: %v", err)
	}
	if after := hooksOn(t, "eth1"); before == "" || after != before {
		t.Errorf("the hooks have %q, had %q", after, before)
	}
	remount(0)
	if again := mustNew(t, o); !again.Adopted() {
		t.Error("what stood there is lost")
	}
}

func TestAFolderThatCannotBeMadeIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		d, err := New(Options{Hook: "tc", MaxFlows: 8192, PinDir: dir})
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not a directory; choose another --pin-dir") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// A drain leaves no verdicts to a weir that starts one day.
func TestStopRemovesTheVerdicts(t *testing.T) {
	mustNetwork(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "health.json")
	must(t, os.WriteFile(file, []byte("{}"), 0o600))
	d := mustNew(t, Options{Hook: "tc", MaxFlows: 8192})
	must(t, d.KeepVerdicts(folder))
	must(t, d.Stop())
	must(t, d.Close())
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the verdicts are there: %v", err)
	}
}
