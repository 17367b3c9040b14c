package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/scenarios/harness"
)

// left lists what of --egr-hooks is on a node: the VIP's route and neighbour, and
// programs that see what leaves.
func (l *lab) left(ctx context.Context, name string) (string, error) {
	n := l.Node(name)
	routes, err := n.Run(ctx, "ip", "route", "show", "proto", "119", "table", "all")
	neighbours, err2 := n.Run(ctx, "ip", "neigh", "show", "to", vip.String(), "nud", "permanent")
	programs := ""
	err3 := n.Do(func() error {
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		at, err := link.QueryPrograms(link.QueryOptions{Target: eth1.Attrs().Index, Attach: ebpf.AttachTCXEgress})
		if err == nil && len(at.Programs) > 0 {
			programs = fmt.Sprintf("%d egress programs", len(at.Programs))
		}
		return err
	})
	return strings.TrimSpace(routes + neighbours + programs), errors.Join(err, err2, err3)
}

// describeEnd has the specs of what stays over a restart and what a node is left
// with at the end.
func describeEnd(l func() *lab) {
	It("keep serving their pods while weir restarts, and are drained clean", func(ctx SpecContext) {
		weir := l().Node("master1").Process("weir")
		Expect(weir.Kill(ctx)).To(Succeed())
		for _, p := range protocols {
			Expect(l().ask(ctx, askers[2], onActive, p)).To(BeEmpty())
		}
		Expect(weir.Start(ctx)).To(Succeed())
		Expect(l().left(ctx, "master1")).To(And(ContainSubstring(vip.String()+" dev eth1"), ContainSubstring("PERMANENT"), ContainSubstring("1 egress programs")))
		_, err := l().Node("master1").Run(ctx, "weirctl", "drain")
		Expect(err).NotTo(HaveOccurred())
		harness.Soon(ctx, func() (string, error) { return l().left(ctx, "master1") }).Should(BeEmpty())
	})

	It("are cleaned of a weir that does not run any more", func(ctx SpecContext) {
		master := l().Node("master2")
		Expect(master.Process("weir").Kill(ctx)).To(Succeed())
		Expect(l().left(ctx, "master2")).To(And(ContainSubstring(vip.String()+" dev eth1"), ContainSubstring("1 egress programs")))
		_, err := master.Run(ctx, "weir", "--cleanup", "--pin-dir="+master.Dir()+"/bpf", "--state-dir="+master.Dir()+"/state")
		Expect(err).NotTo(HaveOccurred())
		Expect(l().left(ctx, "master2")).To(BeEmpty())
	})
}
