package hook

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestMain(m *testing.M) {
	nstest.Isolate()
	leaktest.Main(m)
}

// program makes one that lets everything pass.
func program(t *testing.T, kind ebpf.ProgramType, name string) *ebpf.Program {
	t.Helper()
	verdict := int32(2) // XDP_PASS
	if kind == ebpf.SchedCLS {
		verdict = 0 // TC_ACT_OK
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: kind, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// devices remembers what it was told.
type devices struct {
	mu   sync.Mutex
	told map[int]maps.Device
}

func (d *devices) PutDevice(index int, told maps.Device) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told[index] = told
	return nil
}

func (d *devices) DeleteDevice(index int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.told, index)
	return nil
}

func (d *devices) at(index int) (maps.Device, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	told, ok := d.told[index]
	return told, ok
}

type setup struct {
	*Hooks
	devices *devices
	other   *nstest.Namespace
}

// mustHook starts hooks over eth1, a veth, and follows until the test ends.
func mustHook(t *testing.T, o Options) setup {
	t.Helper()
	s := setup{devices: &devices{told: map[int]maps.Device{}}, other: nstest.New(t)}
	s.other.Veth(t, "eth1", "peer1", "192.0.2.1/24", "192.0.2.2/24")
	o.TC, o.XDP, o.Devices = program(t, ebpf.SchedCLS, "weir_tc"), program(t, ebpf.XDP, "weir_xdp"), s.devices
	o.Egress = egressIf(t, o.Egress)
	var err error
	if s.Hooks, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// asked stands in Options for an egress program that is made when hooks start.
var asked = new(ebpf.Program)

func egressIf(t *testing.T, p *ebpf.Program) *ebpf.Program {
	t.Helper()
	if p == nil {
		return nil
	}
	return program(t, ebpf.SchedCLS, "weir_egress")
}

// status prints hook and reason of an interface, empty when it is not known.
func (s setup) status(name string) string {
	for _, i := range s.Interfaces() {
		if i.Name == name {
			return i.Hook + ": " + i.Reason
		}
	}
	return ""
}

func (s setup) expect(t *testing.T, name, status string) {
	t.Helper()
	waittest.Eventually(t, func() string {
		if got := s.status(name); !strings.HasPrefix(got, status) {
			return fmt.Sprintf("%s has status %q, want %q", name, got, status)
		}
		return ""
	})
}

// The node's own are all addresses of interfaces in use, as they are now.
func TestAddressesAreTheNodesOwn(t *testing.T) {
	s := mustHook(t, Options{Choice: TC, Filter: Filter{Blacklist: regexp.MustCompile("^left$")}})
	want := func(addresses ...string) {
		t.Helper()
		waittest.Eventually(t, func() string { return differ(s.Addresses(), addresses...) })
	}
	want("192.0.2.1")
	s.other.Veth(t, "left", "peer2", "198.51.100.1/24", "")
	second, err := netlink.ParseAddr("192.0.2.9/24")
	must(t, err)
	eth1 := nstest.MustLink(t, "eth1")
	must(t, netlink.AddrAdd(eth1, second))
	want("192.0.2.1", "192.0.2.9")
	must(t, netlink.AddrDel(eth1, second))
	want("192.0.2.1")
}

// kube-proxy in IPVS mode has a dummy with all service addresses on it, on load
// balancer nodes too: packets for them are taken before they get there.
func TestAddressesOfDummiesAreNotTheNodes(t *testing.T) {
	used := func() *hooked { return &hooked{attachment: attachment{tc: kernelLink{}}} }
	h := &Hooks{hooked: map[int]*hooked{1: used(), 2: used()}, changed: make(chan struct{}, 1)}
	h.noteOwn([]netlink.Link{
		&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}, &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 2}},
	}, map[int][]netip.Addr{1: {netip.MustParseAddr("192.0.2.1")}, 2: {netip.MustParseAddr("203.0.113.1")}})
	if problem := differ(h.Addresses(), "192.0.2.1"); problem != "" {
		t.Error(problem)
	}
}

func differ(own map[netip.Addr]bool, want ...string) string {
	for _, a := range want {
		if !own[netip.MustParseAddr(a)] || len(own) != len(want) {
			return fmt.Sprintf("own addresses %v, want %v", own, want)
		}
	}
	return ""
}

// hanging counts what hangs at a side of an interface, ours or not.
func hanging(t *testing.T, name string, at side) (tcx, filters int) {
	t.Helper()
	l := nstest.MustLink(t, name)
	programs := nstest.TCXPrograms(t, l.Attrs().Index, at.attach)
	bpfFilters, err := filtersAt(l.Attrs().Index, at.parent)
	if err != nil && !gone(err) {
		t.Fatal(err)
	}
	return len(programs), len(bpfFilters)
}

// expectEgress is expectAttached for the egress side.
func expectEgress(t *testing.T, name string, tcx, filters int) {
	t.Helper()
	if !nstest.HasTCX() {
		tcx, filters = 0, filters+tcx
	}
	if gotTCX, gotFilters := hanging(t, name, egress); gotTCX != tcx || gotFilters != filters {
		t.Errorf("%s has %d TCX programs and %d filters at egress; want %d, %d", name, gotTCX, gotFilters, tcx, filters)
	}
}

// expectAttached holds an interface to what must hang on it. Where the kernel has
// no TCX, what would be a TCX program is a filter.
func expectAttached(t *testing.T, name string, tcx, filters int, xdp bool) {
	t.Helper()
	if !nstest.HasTCX() {
		tcx, filters = 0, filters+tcx
	}
	gotTCX, gotFilters := hanging(t, name, ingress)
	attrs := nstest.MustLink(t, name).Attrs()
	gotXDP := attrs.Xdp != nil && attrs.Xdp.Attached
	if gotTCX != tcx || gotFilters != filters || gotXDP != xdp {
		t.Errorf("%s has %d TCX programs, %d filters, XDP %t; want %d, %d, %t", name, gotTCX, gotFilters, gotXDP, tcx, filters, xdp)
	}
}

func TestAttachAndClose(t *testing.T) {
	tests := []struct {
		name         string
		options      Options
		status       string
		tcx, filters int
		xdp          bool
	}{
		{"auto takes TC on veth", Options{}, "tc: driver veth", 1, 0, false},
		{"xdp takes both", Options{Choice: XDP}, "xdp: asked for", 1, 0, true},
		{"tc by clsact where TCX is missing", Options{Choice: TC, WithoutTCX: true}, "tc: asked for", 0, 1, false},
		{"egress by TCX", Options{Choice: TC, Egress: asked}, "tc: asked for", 1, 0, false},
		{"egress beside XDP", Options{Choice: XDP, Egress: asked}, "xdp: asked for", 1, 0, true},
		{"egress by clsact", Options{Choice: TC, WithoutTCX: true, Egress: asked}, "tc: asked for", 0, 1, false},
		{"a blacklist", Options{Egress: asked, Filter: Filter{Blacklist: regexp.MustCompile("eth")}}, "none: left alone: matches --blacklist", 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustHook(t, tt.options)
			s.expect(t, "eth1", tt.status)
			expectAttached(t, "eth1", tt.tcx, tt.filters, tt.xdp)
			sees := tt.options.Egress != nil && tt.tcx+tt.filters > 0
			if sees {
				expectEgress(t, "eth1", tt.tcx, tt.filters)
			} else {
				expectEgress(t, "eth1", 0, 0)
			}
			l := nstest.MustLink(t, "eth1").Attrs()
			want := maps.Device{MTU: 1500, MAC: [6]byte(l.HardwareAddr), Address: netip.MustParseAddr("192.0.2.1"), TransmitsXDP: tt.xdp, RedirectOnly: true, SeesEgress: sees}
			if got, _ := s.devices.at(l.Index); got != want {
				t.Errorf("device %+v, want %+v", got, want)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			expectAttached(t, "eth1", 0, 0, false)
			expectEgress(t, "eth1", 0, 0)
			if qdiscs, _ := netlink.QdiscList(nstest.MustLink(t, "eth1")); hasClsact(qdiscs) {
				t.Error("the clsact qdisc stays")
			}
		})
	}
}

func hasClsact(qdiscs []netlink.Qdisc) bool {
	for _, q := range qdiscs {
		if q.Type() == "clsact" {
			return true
		}
	}
	return false
}

func TestInterfacesAreFollowed(t *testing.T) {
	s := mustHook(t, Options{Egress: asked})
	s.other.Veth(t, "eth2", "peer2", "", "")
	s.expect(t, "eth2", "tc:")
	eth2 := nstest.MustLink(t, "eth2")

	must(t, netlink.LinkSetMTU(eth2, 1400))
	waittest.Eventually(t, func() string {
		if got, _ := s.devices.at(eth2.Attrs().Index); got.MTU != 1400 {
			return fmt.Sprintf("device has MTU %d, want 1400", got.MTU)
		}
		return ""
	})

	address, err := netlink.ParseAddr("198.51.100.7/24")
	must(t, err)
	must(t, netlink.AddrAdd(eth2, address))
	waittest.Eventually(t, func() string {
		if got, _ := s.devices.at(eth2.Attrs().Index); got.Address != netip.MustParseAddr("198.51.100.7") {
			return fmt.Sprintf("device has address %s, want 198.51.100.7", got.Address)
		}
		return ""
	})

	must(t, netlink.LinkSetDown(eth2))
	must(t, netlink.LinkSetName(eth2, "cni9"))
	s.expect(t, "cni9", "none: left alone")
	expectAttached(t, "cni9", 0, 0, false)
	expectEgress(t, "cni9", 0, 0)
	must(t, netlink.LinkSetName(eth2, "eth2"))
	s.expect(t, "eth2", "tc:")
	expectAttached(t, "eth2", 1, 0, false)
	expectEgress(t, "eth2", 1, 0)

	must(t, netlink.LinkDel(eth2))
	waittest.Eventually(t, func() string {
		if _, known := s.devices.at(eth2.Attrs().Index); known || s.status("eth2") != "" {
			return "eth2 is gone and still known"
		}
		return ""
	})
	s.expect(t, "eth1", "tc:")
}

func TestForeignXDPStays(t *testing.T) {
	foreign := program(t, ebpf.XDP, "foreign")
	other := nstest.New(t)
	other.Veth(t, "eth5", "peer5", "", "")
	eth5 := nstest.MustLink(t, "eth5")
	must(t, netlink.LinkSetXdpFdWithFlags(eth5, foreign.FD(), unix.XDP_FLAGS_DRV_MODE))
	s := mustHook(t, Options{Choice: XDP})
	info, err := foreign.Info()
	must(t, err)
	id, _ := info.ID()
	s.expect(t, "eth5", fmt.Sprintf("tc: XDP program %d of somebody else", id))
	if got := nstest.MustLink(t, "eth5").Attrs().Xdp.ProgId; got != uint32(id) {
		t.Errorf("program %d is attached, want the foreign %d", got, id)
	}
	// The owner takes it off: XDP is ours then.
	must(t, netlink.LinkSetXdpFdWithFlags(eth5, -1, unix.XDP_FLAGS_DRV_MODE))
	s.expect(t, "eth5", "xdp:")
}

func TestForeignTCProgramsStay(t *testing.T) {
	for _, without := range []bool{false, true} {
		t.Run(fmt.Sprintf("without TCX %t", without), func(t *testing.T) {
			foreign := program(t, ebpf.SchedCLS, "foreign")
			other := nstest.New(t)
			other.Veth(t, "eth5", "peer5", "", "")
			index := nstest.MustLink(t, "eth5").Attrs().Index
			theirs := 0
			for _, at := range []side{ingress, egress} {
				if !nstest.HasTCX() {
					break
				}
				l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: foreign, Attach: at.attach})
				must(t, err)
				defer l.Close()
				theirs = 1
			}
			mustForeignFilters(t, index, foreign)

			s := mustHook(t, Options{WithoutTCX: without, Egress: asked})
			s.expect(t, "eth5", "tc:")
			if without {
				expectAttached(t, "eth5", theirs, 2, false)
				expectEgress(t, "eth5", theirs, 2)
			} else {
				expectAttached(t, "eth5", theirs+1, 1, false)
				expectEgress(t, "eth5", theirs+1, 1)
				if first := programAt(t, index, ingress); nstest.HasTCX() && first != idOf(t, s.options.TC) {
					t.Errorf("program %d is first, ours is not before the foreign one", first)
				}
			}
			must(t, s.Close())
			expectAttached(t, "eth5", theirs, 1, false)
			expectEgress(t, "eth5", theirs, 1)
		})
	}
}

func mustForeignFilters(t *testing.T, index int, p *ebpf.Program) {
	t.Helper()
	must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}))
	for _, at := range []side{ingress, egress} {
		must(t, netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: index, Parent: at.parent, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL,
			},
			Fd: p.FD(), Name: "foreign", DirectAction: true,
		}))
	}
}

// A filter that a killed process left is ours by name and goes at the next
// start, also when that start uses TCX.
func TestAFilterOfAKilledProcessIsSweptUp(t *testing.T) {
	other := nstest.New(t)
	other.Veth(t, "eth5", "peer5", "", "")
	index := nstest.MustLink(t, "eth5").Attrs().Index
	_, err := clsact{ingress, &qdiscs{}}.attach(program(t, ebpf.SchedCLS, "weir_tc"), index)
	must(t, err)
	expectAttached(t, "eth5", 0, 1, false)
	s := mustHook(t, Options{})
	s.expect(t, "eth5", "tc:")
	expectAttached(t, "eth5", 1, 0, false)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A bridge has no XDP of its own: TC serves, and the status says why.
func TestADriverWithoutXDPFallsBackToTC(t *testing.T) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth7"
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	must(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { must(t, netlink.LinkDel(bridge)) })
	s := mustHook(t, Options{Choice: XDP})
	s.expect(t, "eth7", "tc: attach native XDP: ")
	expectAttached(t, "eth7", 1, 0, false)
	if got, _ := s.devices.at(nstest.MustLink(t, "eth7").Attrs().Index); got.TransmitsXDP {
		t.Error("the bridge is taken for one that transmits from XDP")
	}
}
