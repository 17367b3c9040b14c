package collect

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/doctor"
)

// enter moves the test to a network namespace of its own. The thread stays
// locked and ends with the test, and the namespace with it.
func enter(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread()
	ns, err := netns.New()
	must(t, err)
	must(t, ns.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustLink(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func mustAddress(t *testing.T, name, prefix string) {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	must(t, netlink.AddrAdd(mustLink(t, name), a))
}

// worker makes eth1 with an address, flannel.1 over it with a strict filter and
// an MTU that is too large, a learned VIP and another one bound to lo.
func worker(t *testing.T) {
	t.Helper()
	enter(t)
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1", MTU: 1500}, PeerName: "peer"}))
	must(t, netlink.LinkAdd(&netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: "flannel.1", MTU: 1500}, VxlanId: 1, Port: 8472, SrcAddr: net.IPv4(192, 0, 2, 1),
	}))
	for _, name := range []string{"lo", "eth1", "peer", "flannel.1"} {
		must(t, netlink.LinkSetUp(mustLink(t, name)))
	}
	mustAddress(t, "eth1", "192.0.2.1/24")
	mustAddress(t, "lo", "203.0.113.2/32")
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/flannel.1/rp_filter", []byte("1"), 0))
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	must(t, netlink.RouteAdd(&netlink.Route{
		Dst: &net.IPNet{IP: net.IPv4(203, 0, 113, 1).To4(), Mask: net.CIDRMask(32, 32)}, Gw: net.IPv4(192, 0, 2, 9), Protocol: unix.RTPROT_BGP,
	}))
}

func TestNode(t *testing.T) {
	worker(t)
	f, err := Node()
	must(t, err)
	if !f.Forwarding || f.Kernel == "" || len(f.Unseen) > 0 {
		t.Errorf("forwarding %t, kernel %q, unseen %q", f.Forwarding, f.Kernel, f.Unseen)
	}
	if want := []netip.Addr{netip.MustParseAddr("203.0.113.1")}; !slices.Equal(f.Learned, want) {
		t.Errorf("learned %v, want %v", f.Learned, want)
	}
	for _, want := range []doctor.Local{
		{Prefix: netip.MustParsePrefix("203.0.113.2/32"), Interface: "lo"},
		{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Interface: "eth1"},
	} {
		if !slices.Contains(f.Local, want) {
			t.Errorf("local are %v, want %v among them", f.Local, want)
		}
	}
	flannel := find(t, f, "flannel.1")
	if flannel.Overlay == nil || *flannel.Overlay != (doctor.Overlay{Strict: true, Own: 1, Overhead: 50, Below: "eth1", BelowMTU: 1500}) || flannel.MTU != 1500 {
		t.Errorf("flannel.1 is %+v over %+v", flannel, flannel.Overlay)
	}
	eth := find(t, f, "eth1")
	if eth.Kind != "veth" || eth.Overlay != nil || !eth.Up {
		t.Errorf("eth1 is %+v", eth)
	}
	if gro, known := eth.Merges["gro"]; !known || gro {
		t.Errorf("a fresh veth merges received packets: %t, known %t", gro, known)
	}
}

func find(t *testing.T, f doctor.Facts, name string) doctor.Interface {
	t.Helper()
	i := slices.IndexFunc(f.Interfaces, func(i doctor.Interface) bool { return i.Name == name })
	if i < 0 {
		t.Fatalf("no interface %s among %+v", name, f.Interfaces)
	}
	return f.Interfaces[i]
}

// pass is a program that lets every packet pass.
func pass(t *testing.T, kind ebpf.ProgramType, name string, verdict int32) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: kind, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

// Programs are seen wherever they are attached, and ours are told from others'.
func TestPrograms(t *testing.T) {
	worker(t)
	eth := mustLink(t, "eth1")
	index := eth.Attrs().Index
	const tcOK, xdpPass = 0, 2
	ours, err := link.AttachTCX(link.TCXOptions{Program: pass(t, ebpf.SchedCLS, "weir_tc", tcOK), Attach: ebpf.AttachTCXIngress, Interface: index})
	must(t, err)
	defer ours.Close()
	xdp, err := link.AttachXDP(link.XDPOptions{Program: pass(t, ebpf.XDP, "stranger_xdp", xdpPass), Interface: index, Flags: link.XDPGenericMode})
	must(t, err)
	defer xdp.Close()
	must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}))
	must(t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          pass(t, ebpf.SchedCLS, "stranger_tc", tcOK).FD(), Name: "stranger_tc", DirectAction: true,
	}))
	f, err := Node()
	must(t, err)
	var got []doctor.Program
	for _, p := range find(t, f, "eth1").Programs {
		p.ID = 0
		got = append(got, p)
	}
	want := []doctor.Program{
		{Name: "stranger_xdp", Where: "xdp"},
		{Name: "weir_tc", Where: "tc ingress", Ours: true},
		{Name: "stranger_tc", Where: "tc egress"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("programs are %+v, want %+v", got, want)
	}
	if got := find(t, f, "flannel.1").Programs; len(got) > 0 {
		t.Errorf("programs of flannel.1 are %+v, want none", got)
	}
}
