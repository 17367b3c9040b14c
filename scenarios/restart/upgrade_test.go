package restart

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/node"
)

var _ = Describe("weir of another version", Ordered, func() {
	var l *lab.Lab
	var other string
	BeforeAll(func(ctx SpecContext) {
		other = build(ctx, "v-other", anotherProgram)
		l = lab.UpPairs(ctx, harness.Options{Unrecorded: true})
	})

	It("takes over and gives back under load, ended and killed, and nothing is lost", func(ctx SpecContext) {
		standing := open(ctx, l, tcpFlows, udpFlows, sctpFlows)
		routes := watchRoutes(ctx, l)
		expectSwaps(ctx, l, other)
		expectNothingLost(ctx, standing, routes)
	})

	It("refuses maps whose meaning it does not know, and the old programs forward on", func(ctx SpecContext) {
		weir := l.Node("master1").Process("weir")
		standing := open(ctx, l, 10, 10, 5)
		expectToEnd(ctx, weir)
		attached := programs(l, "master1", "eth1")
		tags := tagsAt(l, "master1", "eth1")
		pinned := filepath.Join(pinDir(l), "v3")
		unknown := filepath.Join(pinDir(l), "v91")
		Expect(os.Rename(pinned, unknown)).To(Succeed())
		before := held(ctx, l, "master1", unknown)
		Expect(before).To(And(
			ContainElement(And(HavePrefix("route "), ContainSubstring("proto 119"))), ContainElement(ContainSubstring("PERMANENT")),
			ContainElement(ContainSubstring("flows map")), ContainElement(MatchRegexp("link .*, program")), ContainElement(HavePrefix("state.json "))))
		Expect(weir.Launch()).To(Succeed()) // its socket is there before it looks at the pins
		Expect(weir.Wait(ctx)).To(Succeed())
		Expect(weir.Tail(1)).To(ContainSubstring("nothing was touched: it has layout v91"))
		Expect(weir.Running()).To(BeFalse())
		Expect(programs(l, "master1", "eth1")).To(Equal(attached))
		Expect(held(ctx, l, "master1", unknown)).To(ConsistOf(before))
		Expect(tagsAt(l, "master1", "eth1")).To(Equal(tags))
		Expect(l.Ask(ctx, patience, lab.Services...)).To(BeEmpty())
		Expect(os.Rename(unknown, pinned)).To(Succeed())
		Expect(weir.Start(ctx)).To(Succeed())
		l.ExpectConverged(ctx, lab.Master1)
		Expect(held(ctx, l, "master1", pinned)).NotTo(ConsistOf(before), "control: what goes on does touch")
		_, lost := standing.lost()
		Expect(few(lost)).To(BeEmpty())
	})

	It("removes what it cannot adopt with --cleanup, and nothing else", func(ctx SpecContext) {
		master := l.Node("master1")
		weir := master.Process("weir")
		expectToEnd(ctx, weir)
		foreign := []string{"198.51.100.0/24", "via", "192.168.80.101", "proto", "bgp"}
		_, err := master.Run(ctx, "ip", append([]string{"route", "add"}, foreign...)...)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.Rename(filepath.Join(pinDir(l), "v3"), filepath.Join(pinDir(l), "v91"))).To(Succeed())
		_, err = master.Run(ctx, "weir", "--cleanup", "--state-dir="+master.Dir()+"/state", "--pin-dir="+master.Dir()+"/bpf")
		Expect(err).NotTo(HaveOccurred())
		Expect(left(ctx, l, "master1")).To(Equal(strings.Join(foreign[:3], " ")+" dev eth1 proto bgp"),
			"all is gone but the route of another BGP speaker")
		_, err = os.Lstat(master.Dir() + "/state")
		Expect(os.IsNotExist(err)).To(BeTrue())
	})
})

// expectSwaps has another version of weir take over and give back, twice, while
// datagrams never stop: it is asked to end, the other one is killed.
func expectSwaps(ctx context.Context, l *lab.Lab, other string) {
	GinkgoHelper()
	weir := l.Node("master1").Process("weir")
	moments := randomMoments()
	busy := hurry(ctx, l, 8)
	before := tagsAt(l, "master1", "eth1")
	Expect(before).To(And(HaveKey("ingress"), HaveKey("egress")))
	for i, version := range []struct{ command, name string }{{other, "v-other"}, {"weir", ""}, {other, "v-other"}, {"weir", ""}} {
		if i%2 == 0 {
			expectToEnd(ctx, weir)
		} else {
			moments.kill(ctx, l, "master1", unix.SIGKILL)
		}
		run(weir, version.command)
		Expect(weir.Start(ctx)).To(Succeed())
		v, err := l.Weir("master1").Version(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(v.Version == "v-other").To(Equal(version.name != ""), "version %s runs", v.Version)
		tags := tagsAt(l, "master1", "eth1")
		Expect(tags).To(HaveLen(len(before)))
		for at, tag := range tags {
			Expect(tag == before[at]).To(Equal(version.name == ""), "the %s program at eth1", at)
		}
		moments.confirm(ctx, l)
	}
	expectConfirmed(ctx, l)
	datagrams, failures := busy()
	AddReportEntry("datagrams asked and answered", datagrams, ReportEntryVisibilityFailureOrVerbose)
	Expect(failures).To(BeEmpty())
	Expect(datagrams).To(BeNumerically(">", 5000))
}

// run makes the process another program with the same arguments.
func run(weir *node.Process, program string) {
	_, arguments, _ := strings.Cut(weir.Spec.Command, " ")
	weir.Spec.Command = program + " " + arguments
}

// tagsAt are the kernel's hashes of the programs that an interface's frames meet:
// ingress, egress, and xdp where it has one.
func tagsAt(l *lab.Lab, name, iface string) map[string]string {
	GinkgoHelper()
	tags := map[string]string{}
	Expect(l.Node(name).Do(func() error {
		eth, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		ids := map[string]ebpf.ProgramID{}
		for name, attach := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
			at, err := link.QueryPrograms(link.QueryOptions{Target: eth.Attrs().Index, Attach: attach})
			if err != nil {
				return err
			}
			if len(at.Programs) > 0 {
				ids[name] = at.Programs[0].ID
			}
		}
		if xdp := eth.Attrs().Xdp; xdp != nil && xdp.Attached {
			ids["xdp"] = ebpf.ProgramID(xdp.ProgId)
		}
		for at, id := range ids {
			if tags[at], err = tagOf(id); err != nil {
				return err
			}
		}
		return nil
	})).To(Succeed())
	return tags
}

func tagOf(id ebpf.ProgramID) (string, error) {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "", err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return "", err
	}
	return info.Tag, nil
}

// hurry asks over so many UDP flows, each the next question as soon as it has an
// answer, until the function is called that it returns.
func hurry(ctx context.Context, l *lab.Lab, n int) (end func() (datagrams int, failures []string)) {
	GinkgoHelper()
	during, stop := context.WithCancel(ctx)
	DeferCleanup(stop)
	type outcome struct {
		asked   int
		failure string
	}
	outcomes := make(chan outcome, n)
	for range n {
		r := lab.UDP.Request()
		r.Timeout = patience
		one, err := l.Requests.Open(ctx, r)
		Expect(err).NotTo(HaveOccurred())
		go func() {
			defer func() { _ = one.Close(context.WithoutCancel(ctx)) }()
			o := outcome{}
			for during.Err() == nil && o.failure == "" {
				within, cancel := context.WithTimeout(ctx, patience)
				if _, err := one.Ask(within); err != nil {
					o.failure = err.Error()
				}
				cancel()
				o.asked++
			}
			outcomes <- o
		}()
	}
	began := time.Now()
	return func() (datagrams int, failures []string) {
		stop()
		for range n {
			o := <-outcomes
			datagrams += o.asked
			if o.failure != "" {
				failures = append(failures, o.failure)
			}
		}
		AddReportEntry("questions a second", float64(datagrams)/time.Since(began).Seconds(), ReportEntryVisibilityFailureOrVerbose)
		return datagrams, failures
	}
}
