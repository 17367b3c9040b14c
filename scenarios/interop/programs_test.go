package interop

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/vishvananda/netlink"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
)

// foreign is a program of somebody else's at an interface: it counts packets and
// leaves them alone.
type foreign struct {
	at      string
	count   *ebpf.Map
	link    link.Link
	program ebpf.ProgramID
}

// Verdicts that leave a packet alone.
const (
	xdpPass = 2
	tcxNext = -1
)

// besidePrograms attaches programs to the load balancer: XDP and TCX where requests
// come in, TCX where they go out.
func besidePrograms(l *onelb.Lab) []*foreign {
	GinkgoHelper()
	return []*foreign{
		attach(l, "eth1", "XDP", ebpf.XDP, xdpPass, func(p *ebpf.Program, index int) (link.Link, error) {
			return link.AttachXDP(link.XDPOptions{Interface: index, Program: p, Flags: link.XDPDriverMode})
		}),
		attach(l, "eth1", "TCX ingress", ebpf.SchedCLS, tcxNext, func(p *ebpf.Program, index int) (link.Link, error) {
			return link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: ebpf.AttachTCXIngress})
		}),
		attach(l, "eth2", "TCX egress", ebpf.SchedCLS, tcxNext, func(p *ebpf.Program, index int) (link.Link, error) {
			return link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: ebpf.AttachTCXEgress})
		}),
	}
}

func attach(l *onelb.Lab, iface, kind string, t ebpf.ProgramType, verdict int32, to func(*ebpf.Program, int) (link.Link, error)) *foreign {
	GinkgoHelper()
	f := &foreign{at: kind + " of " + iface}
	var err error
	f.count, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(f.count.Close)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: t, License: "GPL", Instructions: asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, f.count.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "leave"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, verdict).WithSymbol("leave"),
		asm.Return(),
	}})
	Expect(err).NotTo(HaveOccurred())
	defer p.Close()
	info, err := p.Info()
	Expect(err).NotTo(HaveOccurred())
	f.program, _ = info.ID()
	Expect(l.Node("lb").Do(func() error {
		at, err := netlink.LinkByName(iface)
		if err == nil {
			f.link, err = to(p, at.Attrs().Index)
		}
		return err
	})).To(Succeed())
	DeferCleanup(f.link.Close)
	return f
}

// packets is what the program has counted.
func (f *foreign) packets() uint64 {
	GinkgoHelper()
	value, err := f.count.LookupBytes(uint32(0))
	Expect(err).NotTo(HaveOccurred())
	return binary.NativeEndian.Uint64(value)
}

// expectThere expects the link to hold its program and its interface.
func (f *foreign) expectThere() {
	GinkgoHelper()
	info, err := f.link.Info()
	Expect(err).NotTo(HaveOccurred())
	Expect(info.Program).To(Equal(f.program), f.at)
	index := uint32(0) // of a link whose interface has let go
	if xdp := info.XDP(); xdp != nil {
		index = xdp.Ifindex
	} else if tcx := info.TCX(); tcx != nil {
		index = tcx.Ifindex
	}
	Expect(index).NotTo(BeZero(), f.at)
}

var _ = Describe("On a load balancer with XDP and TC programs of somebody else", Ordered, func() {
	It("weir serves beside them, and they see what they did before", func(ctx SpecContext) {
		l := onelb.Up(ctx, harness.Options{Hook: "xdp"})
		drain := func() {
			_, err := l.Node("lb").Run(ctx, "weirctl", "drain")
			Expect(err).NotTo(HaveOccurred())
		}
		var programs []*foreign
		harness.Step("they are there before weir", func() {
			drain()
			programs = besidePrograms(l)
			Expect(l.Node("lb").Process("weir").Start(ctx)).To(Succeed())
		})
		harness.Step("weir says that it falls back to TC where XDP is taken, and nowhere else", func() {
			harness.Soon(ctx, func(ctx context.Context) ([]v1.Interface, error) {
				o, err := l.Weir("lb").Observed(ctx)
				return o.Interfaces, err
			}).Should(ContainElements(
				And(HaveField("Name", "eth1"), HaveField("Hook", "tc"),
					HaveField("Reason", ContainSubstring(fmt.Sprintf("XDP program %d of somebody else", programs[0].program)))),
				And(HaveField("Name", "eth2"), HaveField("Hook", "xdp")),
			))
		})
		harness.Step("every mode and protocol is served through all of them", func() {
			l.Program(ctx, "lb", onelb.Services(onelb.Backend1)...)
			for _, m := range onelb.Modes {
				for _, p := range onelb.Protocols {
					before := []uint64{programs[0].packets(), programs[2].packets()}
					a, err := l.Requests.Do(ctx, onelb.Request(m, p))
					Expect(err).NotTo(HaveOccurred())
					Expect(a.Backend).To(Equal("backend1"))
					Expect(programs[0].packets()).To(BeNumerically(">", before[0]), "%s, %s: %s", m, p, programs[0].at)
					Expect(programs[2].packets()).To(BeNumerically(">", before[1]), "%s, %s: %s", m, p, programs[2].at)
				}
			}
		})
		harness.Step("what is not weir's comes to the program behind it", func() {
			before := programs[1].packets()
			_, err := l.Node("client").Run(ctx, "ping", "-c", "1", "-W", "5", onelb.TowardsClient.String())
			Expect(err).NotTo(HaveOccurred())
			Expect(programs[1].packets()).To(BeNumerically(">", before))
		})
		harness.Step("weir goes, and they stay", func() {
			for _, f := range programs {
				f.expectThere()
			}
			drain()
			for _, f := range programs {
				f.expectThere()
			}
		})
	})
})
