package dataplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/internal/waittest"
)

// removeFlows empties both tables, as time would.
func (d *Dataplane) removeFlows(t *testing.T) {
	t.Helper()
	for _, table := range []maps.FlowTable{maps.HalfOpen, maps.Established} {
		var keys []bpf.FlowKey
		must(t, d.maps.EachFlow(table, func(k bpf.FlowKey, _ bpf.Flow) { keys = append(keys, k) }))
		for _, k := range keys {
			must(t, d.maps.DeleteFlow(table, k))
		}
	}
}

// hooksOn says what hangs on an interface: nothing is an empty string.
func hooksOn(t *testing.T, name string) string {
	t.Helper()
	l := nstest.MustLink(t, name).Attrs()
	tcx := nstest.TCXPrograms(t, l.Index, ebpf.AttachTCXIngress)
	filters, err := netlink.FilterList(nstest.MustLink(t, name), netlink.HANDLE_MIN_INGRESS)
	if err != nil && !errors.Is(err, unix.EINVAL) { // no clsact there
		t.Fatal(err)
	}
	if len(tcx) > 0 || len(filters) > 0 || l.Xdp != nil && l.Xdp.Attached {
		return fmt.Sprintf("%d TCX programs, %d filters, XDP %+v", len(tcx), len(filters), l.Xdp)
	}
	return ""
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	mustNetwork(t)
	d, err := New(Options{Hook: "xdp"})
	must(t, err)
	var programs []ebpf.ProgramID
	for _, p := range []*ebpf.Program{d.loaded.TC, d.loaded.XDP, d.loaded.Clock} {
		info, err := p.Info()
		must(t, err)
		id, _ := info.ID()
		programs = append(programs, id)
	}
	info, err := d.loaded.Maps[bpf.MapFlows].Info()
	must(t, err)
	flows, _ := info.ID()
	if hooksOn(t, "eth1") == "" {
		t.Fatal("nothing is attached")
	}
	must(t, d.Close())
	must(t, d.Close())
	if left := hooksOn(t, "eth1"); left != "" {
		t.Errorf("after Close: %s", left)
	}
	waittest.Eventually(t, func() string { // the kernel frees them after a grace period
		for _, id := range programs {
			if p, err := ebpf.NewProgramFromID(id); err == nil {
				p.Close()
				return fmt.Sprintf("program %d lives", id)
			}
		}
		if m, err := ebpf.NewMapFromID(flows); err == nil {
			m.Close()
			return fmt.Sprintf("map %d lives", flows)
		}
		return ""
	})
	if _, err := d.Apply(t.Context(), nil, nil); !errors.Is(err, errClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	if _, err := d.Services(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Services after Close: %v", err)
	}
}

// childEnv makes the test binary a process that serves until it is killed. Its
// value is the pin folder, "none" for none.
const childEnv = "WEIR_TEST_CHILD"

func child() {
	if os.Getenv(childEnv) == "" {
		return
	}
	o := Options{Hook: "xdp", MaxFlows: 8192, PinDir: os.Getenv(childEnv)}
	if o.PinDir == "none" {
		o.PinDir = ""
	}
	d, err := New(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_ = d.Run(context.Background())
	os.Exit(1)
}

func TestNothingIsLeftAfterSIGKILL(t *testing.T) {
	mustNetwork(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=none")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if hooksOn(t, "eth1") == "" {
		t.Error("nothing is attached")
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if !nstest.HasTCX() {
		// A filter does not end with its process: the next start takes it away.
		d, err := New(Options{Hook: "tc", MaxFlows: 8192})
		must(t, err)
		must(t, d.Close())
	}
	waittest.Eventually(t, func() string { return hooksOn(t, "eth1") })
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	for want, o := range map[string]Options{
		`choose hook: "generic" is unknown; use auto, xdp or tc`:     {Hook: "generic"},
		`size flow table: 5 entries are not within 4096 to 16777216`: {MaxFlows: 5},
	} {
		d, err := New(o)
		if err == nil {
			d.Close()
		}
		if err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}

func TestApplyEndsWithItsContext(t *testing.T) {
	d := mustRun(t, Options{Hook: "tc"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Apply(ctx, []v1.Service{serviceOn(80, v1.TCP, v1.ModeFullNAT, podA)}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
