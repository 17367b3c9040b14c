package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestMain(m *testing.M) {
	nstest.Isolate()
	leaktest.Main(m)
}

func TestEffective(t *testing.T) {
	tests := []struct {
		filter Filter
		strict bool
	}{
		{Filter{Own: 0, All: 0}, false},
		{Filter{Own: 1, All: 0}, true},
		{Filter{Own: 0, All: 1}, true},
		{Filter{Own: 2, All: 1}, false},
		{Filter{Own: 1, All: 2}, false},
	}
	for _, tt := range tests {
		if got := tt.filter.Strict(); got != tt.strict {
			t.Errorf("%+v is strict: %t, want %t", tt.filter, got, tt.strict)
		}
	}
}

// mustVXLAN makes an overlay device that is up, with this setting.
func mustVXLAN(t *testing.T, name string, id, filter int) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	v := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: id, Port: 8472, SrcAddr: net.IPv4(192, 0, 2, 1)}
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(v) })
	nstest.Sysctl(t, "conf/"+name+"/rp_filter", fmt.Sprint(filter))
	nstest.MustUp(t, name)
	return nstest.MustLink(t, name)
}

func TestLocal(t *testing.T) {
	l := mustVXLAN(t, "flannel.1", 1, 0)
	if !Is(l) || Local(l) != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("%s: overlay %t, local %s", l.Attrs().Name, Is(l), Local(l))
	}
	nstest.New(t).Veth(t, "eth1", "peer1", "", "")
	if l := nstest.MustLink(t, "eth1"); Is(l) || Local(l).IsValid() {
		t.Errorf("%s: overlay %t, local %s", l.Attrs().Name, Is(l), Local(l))
	}
}

func expect(t *testing.T, device string, want int) {
	t.Helper()
	waittest.Eventually(t, func() string {
		if got, err := readSetting(device); err != nil || got != want {
			return fmt.Sprintf("rp_filter of %s is %d (%v), want %d", device, got, err, want)
		}
		return ""
	})
}

// mustRun runs a Loosener until the returned function is called.
func mustRun(t *testing.T, l *Loosener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// What is strict becomes loose, also on a device that appears later; the rest
// stays, and after a restart everything is as it was.
func TestLoosenAndRestore(t *testing.T) {
	nstest.New(t).Veth(t, "eth1", "peer1", "", "")
	nstest.Sysctl(t, "conf/eth1/rp_filter", "1")
	mustVXLAN(t, "flannel.1", 1, 1)
	mustVXLAN(t, "vxlan.calico", 2, 0)
	dir := t.TempDir()
	var told []Change
	l, err := NewLoosener(dir, func(c Change) { told = append(told, c) })
	if err != nil {
		t.Fatal(err)
	}
	stop := mustRun(t, l)
	expect(t, "flannel.1", 2)
	mustVXLAN(t, "later", 3, 1)
	expect(t, "later", 2)
	stop()
	expect(t, "eth1", 1)
	expect(t, "vxlan.calico", 0)
	if len(told) != 2 || told[0].Device != "flannel.1" || told[1].Device != "later" || told[0].Err != nil {
		t.Errorf("told %+v", told)
	}

	again, err := NewLoosener(dir, func(c Change) { t.Errorf("changed once more: %+v", c) })
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, again)()
	if err := again.Restore(); err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string]int{"flannel.1": 1, "later": 1, "vxlan.calico": 0, "eth1": 1} {
		expect(t, device, want)
	}
	if _, err := os.Stat(filepath.Join(dir, notesName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the notes are still there: %v", err)
	}
}

// A disk without room costs the note, not the pods' traffic; the note comes when there is room.
func TestAFilterThatCannotBeNotedIsLoosenedAllTheSame(t *testing.T) {
	mustVXLAN(t, "flannel.1", 1, 1)
	dir := filepath.Join(t.TempDir(), "missing")
	var told []Change
	l, err := NewLoosener(dir, func(c Change) { told = append(told, c) })
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, l)()
	expect(t, "flannel.1", 2)
	if len(told) != 1 || told[0].Err != nil || told[0].Unnoted == nil {
		t.Errorf("told %+v", told)
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), l.sync()); err != nil {
		t.Fatal(err)
	}
	again, err := NewLoosener(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Restore(); err != nil {
		t.Fatal(err)
	}
	expect(t, "flannel.1", 1)
}

// What somebody has set since is theirs.
func TestRestoreLeavesWhatOthersSet(t *testing.T) {
	mustVXLAN(t, "flannel.1", 1, 1)
	mustVXLAN(t, "gone", 2, 1)
	l, err := NewLoosener("", func(Change) {})
	if err != nil {
		t.Fatal(err)
	}
	stop := mustRun(t, l)
	expect(t, "flannel.1", 2)
	expect(t, "gone", 2)
	stop()
	nstest.Sysctl(t, "conf/flannel.1/rp_filter", "0")
	if err := netlink.LinkDel(nstest.MustLink(t, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(); err != nil {
		t.Fatal(err)
	}
	expect(t, "flannel.1", 0)
}

// A machine that died may have left the file's name alone: the node starts.
func TestNotesThatNeverCameToTheDiskAreNone(t *testing.T) {
	for _, content := range []string{"", "\x00\x00"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, notesName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewLoosener(dir, nil); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestDamagedNotesAreNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, notesName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewLoosener(dir, nil); err == nil {
		t.Error("notes that cannot be read were accepted")
	}
}
