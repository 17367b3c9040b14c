package hook

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/pin"
)

func mustPins(t *testing.T) *pin.Folder {
	t.Helper()
	pins, err := pin.Open(filepath.Join(t.TempDir(), "bpf"))
	must(t, err)
	t.Cleanup(func() {
		must(t, pins.Remove())
		must(t, pins.Close())
	})
	return pins
}

// start makes Hooks with programs of its own, as each run of weir has them.
func start(t *testing.T, o Options) *Hooks {
	t.Helper()
	o.TC, o.XDP = program(t, ebpf.SchedCLS, "weir_tc"), program(t, ebpf.XDP, "weir_xdp")
	o.Egress = egressIf(t, o.Egress)
	o.Devices = &devices{told: map[int]maps.Device{}}
	h, err := New(o)
	must(t, err)
	return h
}

// programAt is the id of the TC program that an interface runs first on that side.
func programAt(t *testing.T, index int, at side) ebpf.ProgramID {
	t.Helper()
	if programs := nstest.TCXPrograms(t, index, at.attach); len(programs) > 0 {
		return programs[0]
	}
	filters, err := filtersAt(index, at.parent)
	must(t, err)
	if len(filters) == 0 {
		t.Fatal("no TC program is attached")
	}
	return ebpf.ProgramID(filters[0].(*netlink.BpfFilter).Id)
}

func idOf(t *testing.T, p *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := p.Info()
	must(t, err)
	id, _ := info.ID()
	return id
}

// Each start finds its predecessor's links, puts its own programs in, and the
// hook is never empty: nothing but the program of a link changes.
func TestPinnedHooksOutliveAndAreAdopted(t *testing.T) {
	for _, choice := range []Choice{TC, XDP} {
		t.Run(string(choice), func(t *testing.T) {
			nstest.New(t).Veth(t, "eth5", "peer5", "", "")
			index := nstest.MustLink(t, "eth5").Attrs().Index
			o := Options{Choice: choice, Egress: asked, Pins: mustPins(t)}
			first := start(t, o)
			must(t, first.Close())
			expectAttached(t, "eth5", 1, 0, choice == XDP)
			expectEgress(t, "eth5", 1, 0)
			before := tcLink(t, o.Pins, index)

			second := start(t, o)
			if got, want := programAt(t, index, ingress), idOf(t, second.options.TC); got != want {
				t.Errorf("program %d is attached, want the second's %d", got, want)
			}
			if got, want := programAt(t, index, egress), idOf(t, second.options.Egress); got != want {
				t.Errorf("program %d is attached at egress, want the second's %d", got, want)
			}
			if choice == XDP {
				if got, want := nstest.MustLink(t, "eth5").Attrs().Xdp.ProgId, uint32(idOf(t, second.options.XDP)); got != want {
					t.Errorf("XDP program %d is attached, want the second's %d", got, want)
				}
			}
			if got := tcLink(t, o.Pins, index); got != before {
				t.Errorf("link %d took the place of %d", got, before)
			}
			expectEgress(t, "eth5", 1, 0)
			must(t, second.Detach())
			expectAttached(t, "eth5", 0, 0, false)
			expectEgress(t, "eth5", 0, 0)
			if names, err := o.Pins.Names(); err != nil || len(names) > 0 {
				t.Errorf("pins %v are left, %v", names, err)
			}
		})
	}
}

// tcLink is the id of an interface's TC link; 0 where the kernel has no TCX, and
// a filter takes its place, which is nobody's link.
func tcLink(t *testing.T, pins *pin.Folder, index int) link.ID {
	t.Helper()
	if !nstest.HasTCX() {
		return 0
	}
	return linkID(t, pins, pinName(pinTC, index))
}

func linkID(t *testing.T, pins *pin.Folder, name string) link.ID {
	t.Helper()
	l, err := pins.Link(name)
	must(t, err)
	if l == nil {
		t.Fatalf("%s is not pinned", name)
	}
	defer l.Close()
	info, err := l.Info()
	must(t, err)
	return info.ID
}

// A start whose flags leave an interface alone, or take another hook, cleans up
// what the run before it had there.
func TestWhatIsNotWantedAnyMoreIsDetached(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	pins := mustPins(t)
	must(t, start(t, Options{Choice: XDP, Egress: asked, Pins: pins}).Close())
	expectAttached(t, "eth5", 1, 0, true)
	expectEgress(t, "eth5", 1, 0)
	must(t, start(t, Options{Choice: TC, Pins: pins}).Close())
	expectAttached(t, "eth5", 1, 0, false)
	expectEgress(t, "eth5", 0, 0)
	must(t, start(t, Options{Pins: pins, Filter: Filter{Blacklist: regexp.MustCompile("eth5")}}).Detach())
	expectAttached(t, "eth5", 0, 0, false)
}

// The link of an interface that vanished is of no use to another one.
func TestTheLinkOfAVanishedInterfaceGoes(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	pins := mustPins(t)
	index := nstest.MustLink(t, "eth5").Attrs().Index
	must(t, start(t, Options{Pins: pins}).Close())
	must(t, netlink.LinkDel(nstest.MustLink(t, "eth5")))
	h := start(t, Options{Pins: pins})
	if l, err := pins.Link(pinName(pinTC, index)); err != nil || l != nil {
		t.Errorf("its link is still pinned, %v", err)
	}
	must(t, h.Detach())
}

// Without TCX the filter stays, with the qdisc; the next start replaces its
// program, and the last one takes both away.
func TestClsactFiltersOutliveAndAreReplaced(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	index := nstest.MustLink(t, "eth5").Attrs().Index
	o := Options{WithoutTCX: true, Egress: asked, Pins: mustPins(t)}
	must(t, start(t, o).Close())
	expectAttached(t, "eth5", 0, 1, false)
	second := start(t, o)
	filters, err := filtersAt(index, netlink.HANDLE_MIN_INGRESS)
	must(t, err)
	if got := filters[0].(*netlink.BpfFilter).Id; len(filters) != 1 || got != int(idOf(t, second.options.TC)) {
		t.Errorf("%d filters, program %d; want the second's", len(filters), got)
	}
	must(t, second.Close())
	must(t, Clean(o.Pins))
	expectAttached(t, "eth5", 0, 0, false)
	if qdiscs, _ := netlink.QdiscList(nstest.MustLink(t, "eth5")); hasClsact(qdiscs) {
		t.Error("the clsact qdisc stays")
	}
}

// Without TCX nothing but a name tells of a filter: the start after one with
// egress takes the filter off that is not wanted any more, and the qdisc goes with
// the last of them.
func TestClsactFiltersThatAreNotWantedGo(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	pins := mustPins(t)
	must(t, start(t, Options{WithoutTCX: true, Egress: asked, Pins: pins}).Close())
	expectAttached(t, "eth5", 0, 1, false)
	expectEgress(t, "eth5", 0, 1)
	second := start(t, Options{WithoutTCX: true, Pins: pins})
	expectAttached(t, "eth5", 0, 1, false)
	expectEgress(t, "eth5", 0, 0)
	must(t, second.Close())
	must(t, start(t, Options{WithoutTCX: true, Pins: pins, Filter: Filter{Blacklist: regexp.MustCompile("eth5")}}).Close())
	expectAttached(t, "eth5", 0, 0, false)
	if qdiscs, _ := netlink.QdiscList(nstest.MustLink(t, "eth5")); hasClsact(qdiscs) {
		t.Error("the clsact qdisc stays")
	}
	if names, err := pins.Names(); err != nil || len(names) > 0 {
		t.Errorf("pins %v are left, %v", names, err)
	}
}

// Clean needs no pin to find a filter, and leaves the filters of others with
// their qdisc.
func TestCleanFindsFiltersWithoutPins(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	index := nstest.MustLink(t, "eth5").Attrs().Index
	mustForeignFilters(t, index, program(t, ebpf.SchedCLS, "foreign"))
	for _, pins := range []*pin.Folder{nil, mustPins(t)} {
		for _, at := range []side{ingress, egress} {
			_, err := clsact{at, &qdiscs{}}.attach(program(t, ebpf.SchedCLS, at.filter), index)
			must(t, err)
		}
		expectAttached(t, "eth5", 0, 2, false)
		expectEgress(t, "eth5", 0, 2)
		must(t, Clean(pins))
		expectAttached(t, "eth5", 0, 1, false)
		expectEgress(t, "eth5", 0, 1)
	}
}

// What a version of another schema has left goes too, filters and all.
func TestCleanTakesFiltersOfAnotherSchema(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	dir := filepath.Join(t.TempDir(), "bpf")
	pins, err := pin.Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(pins.Remove(), pins.Close())) })
	must(t, start(t, Options{WithoutTCX: true, Pins: pins}).Close())
	must(t, os.Rename(filepath.Join(dir, "v3"), filepath.Join(dir, "v91")))
	layouts, err := pins.Layouts()
	must(t, err)
	if len(layouts) != 1 {
		t.Fatalf("%d layouts, want 1", len(layouts))
	}
	must(t, Clean(layouts[0]))
	expectAttached(t, "eth5", 0, 0, false)
	if qdiscs, _ := netlink.QdiscList(nstest.MustLink(t, "eth5")); hasClsact(qdiscs) {
		t.Error("the clsact qdisc stays")
	}
}
