package overlay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
)

// finding is one of weirctl doctor -o json.
type finding struct{ Check, Level, Seen, Do string }

// examine runs weirctl doctor on a node, by another command where one is given,
// and returns its findings and how it ended.
func (l *lab) examine(ctx context.Context, node string, by ...string) (map[string][]finding, int) {
	GinkgoHelper()
	words := append(slices.Clone(by), "weirctl", "doctor", "-o", "json")
	out, err := l.Node(node).Run(ctx, words[0], words[1:]...)
	code := 0
	if err != nil {
		Expect(err).To(MatchError(ContainSubstring("exit status")))
		Expect(fmt.Sscanf(err.Error()[strings.Index(err.Error(), "exit status"):], "exit status %d", &code)).To(Equal(1))
	}
	var all struct {
		Level    string
		Findings []finding
	}
	Expect(json.Unmarshal([]byte(out), &all)).To(Succeed())
	byCheck := map[string][]finding{}
	for _, f := range all.Findings {
		byCheck[f.Check] = append(byCheck[f.Check], f)
	}
	return byCheck, code
}

// but has root run a command without one capability, and without the one that
// stands for half of all others.
func but(capability string) []string {
	return []string{"setpriv", "--bounding-set=-" + capability + ",-sys_admin", "--inh-caps=-all"}
}

// failing are the checks that fail.
func failing(all map[string][]finding) []string {
	var names []string
	for name, found := range all {
		for _, f := range found {
			if f.Level == "fail" {
				names = append(names, name)
			}
		}
	}
	return names
}

var _ = Describe("On a worker", Ordered, ContinueOnFailure, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx, harness.Options{}) })

	It("weirctl doctor finds nothing that fails on nodes in good order", func(ctx SpecContext) {
		for _, node := range []string{"master1", "worker1"} {
			found, code := l.examine(ctx, node)
			Expect(failing(found)).To(BeEmpty(), "%s: %v", node, found)
			Expect(code).To(BeZero())
		}
	})

	It("weirctl doctor names the service address that is bound to an interface of a worker, which loses everything", func(ctx SpecContext) {
		harness.Step("before, pods answer", func() { Expect(l.ask(ctx, fullnat, v1.TCP)).To(BeEmpty()) })
		harness.Step("an address more, as IPVS and LoxiLB bind it, and they do not", func() {
			_, err := l.Node("worker1").Run(ctx, "ip", "address", "add", vip.String()+"/32", "dev", "lo")
			Expect(err).NotTo(HaveOccurred())
			for _, p := range protocols {
				Expect(l.askWithin(ctx, silence, fullnat, p)).NotTo(BeEmpty())
			}
		})
		harness.Step("the doctor says which, where and what to do", func() {
			found, code := l.examine(ctx, "worker1")
			Expect(code).To(Equal(1))
			Expect(failing(found)).To(ConsistOf("vips"))
			Expect(found["vips"]).To(ContainElement(And(
				HaveField("Seen", ContainSubstring("123.123.123.1 is bound to lo")), HaveField("Do", ContainSubstring("ip addr del 123.123.123.1/32 dev lo")))))
		})
		harness.Step("which helps", func() {
			_, err := l.Node("worker1").Run(ctx, "ip", "address", "del", vip.String()+"/32", "dev", "lo")
			Expect(err).NotTo(HaveOccurred())
			harness.Soon(ctx, func(ctx context.Context) string { return l.ask(ctx, fullnat, v1.TCP) }).Should(BeEmpty())
		})
	})

	It("weirctl doctor names an overlay that filters reverse paths strictly", func(ctx SpecContext) {
		found, code := l.examine(ctx, "worker2")
		Expect(code).To(Equal(1))
		Expect(failing(found)).To(ConsistOf("rp-filter"))
		Expect(found["rp-filter"]).To(ContainElement(HaveField("Seen", ContainSubstring("flannel.1"))))
	})

	It("weirctl doctor names an overlay that is too wide for what is below it", func(ctx SpecContext) {
		flannel := l.Node("worker1").Link("flannel.1")
		Expect(flannel.SetMTU(1500)).To(Succeed())
		DeferCleanup(func() error { return flannel.SetMTU(overlayMTU) })
		found, _ := l.examine(ctx, "worker1")
		Expect(failing(found)).To(ConsistOf("mtu"))
	})

	It("weirctl doctor names a kernel that lacks something, where that matters", func(ctx SpecContext) {
		for _, lacks := range []struct {
			by   []string
			seen string
		}{
			// A name of Linux 2.6 for programs that understand no other.
			{[]string{"setarch", "--uname-2.6"}, "is too old"},
			{[]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"`}, "has no BTF"},
		} {
			found, code := l.examine(ctx, "master1", lacks.by...)
			Expect(code).To(Equal(1))
			Expect(failing(found)).To(ConsistOf("kernel"))
			Expect(found["kernel"]).To(ConsistOf(And(HaveField("Seen", ContainSubstring(lacks.seen)), HaveField("Do", Not(BeEmpty())))))
			found, code = l.examine(ctx, "worker1", lacks.by...)
			Expect(code).To(BeZero())
			Expect(found["kernel"]).To(ConsistOf(And(HaveField("Level", "ok"), HaveField("Seen", ContainSubstring("a peer needs nothing special")))))
		}
	})

	It("weirctl doctor says what it may not look at while weir runs", func(ctx SpecContext) {
		for lacking, unseen := range map[string]string{
			"bpf":       "name programs of interfaces",
			"net_admin": "list programs of interfaces",
		} {
			found, code := l.examine(ctx, "master1", but(lacking)...)
			Expect(code).To(BeZero(), "%v", found)
			Expect(found["rights"]).To(ConsistOf(And(HaveField("Level", "warn"),
				HaveField("Seen", And(ContainSubstring(unseen), ContainSubstring("not permitted"))), HaveField("Do", ContainSubstring("as root")))))
		}
	})

	It("weirctl doctor says so while weir is down, and looks at the machine all the same", func(ctx SpecContext) {
		weir := l.Node("worker1").Process("weir")
		Expect(weir.Kill(ctx)).To(Succeed())
		_, err := l.Node("worker1").Run(ctx, "ip", "address", "add", vip.String()+"/32", "dev", "lo")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) error {
			_, err := l.Node("worker1").Run(ctx, "ip", "address", "del", vip.String()+"/32", "dev", "lo")
			return errors.Join(err, weir.Start(ctx))
		})
		found, code := l.examine(ctx, "worker1")
		Expect(code).To(Equal(1))
		Expect(failing(found)).To(ConsistOf("weir", "vips"), "the kernel's routes of BGP tell which addresses are VIPs")
		Expect(found["rights"]).To(ConsistOf(HaveField("Level", "ok")), "control: root has all rights")
		for _, c := range []string{"bpf", "net_admin", "net_raw", "perfmon"} {
			found, _ := l.examine(ctx, "worker1", but(c)...)
			Expect(found["rights"]).To(ContainElement(And(HaveField("Level", "warn"),
				HaveField("Seen", HavePrefix("CAP_"+strings.ToUpper(c)+" is missing")), HaveField("Do", ContainSubstring("add it")))))
		}
	})

	describeFilter(func() *lab { return l })
})
