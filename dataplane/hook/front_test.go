package hook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
)

// A foreign filter of priority 1 runs before ours, and so does a TCX program that
// somebody puts at the head later: weir says so, of each, until it goes.
func TestAForeignProgramInFrontIsNamed(t *testing.T) {
	for _, without := range []bool{false, true} {
		t.Run(fmt.Sprintf("without TCX %t", without), func(t *testing.T) {
			nstest.New(t).Veth(t, "eth5", "peer5", "", "")
			index := nstest.MustLink(t, "eth5").Attrs().Index
			mustForeignFilters(t, index, program(t, ebpf.SchedCLS, "foreign"))
			s := mustHook(t, Options{WithoutTCX: without, Egress: asked})
			s.expect(t, "eth5", "tc:")
			byFilter := without || !nstest.HasTCX()
			if got := s.Conditions(); byFilter {
				expectNamed(t, got, "(foreign) at tc egress of eth5", "(foreign) at tc ingress of eth5")
			} else if len(got) > 0 {
				t.Errorf("a filter behind TCX is told of: %+v", got)
			}
			if !nstest.HasTCX() {
				return
			}
			l, err := link.AttachTCX(link.TCXOptions{
				Interface: index, Program: program(t, ebpf.SchedCLS, "jumper"), Attach: ebpf.AttachTCXIngress, Anchor: link.Head(),
			})
			must(t, err)
			expectNamed(t, s.Conditions(), "(jumper) at tc ingress of eth5")
			must(t, l.Close())
			if got := s.Conditions(); !byFilter && len(got) > 0 {
				t.Errorf("it is gone and still told of: %+v", got)
			}
		})
	}
}

func expectNamed(t *testing.T, got []v1.Condition, names ...string) {
	t.Helper()
	if len(got) != 1 || got[0].Type != v1.ConditionPacketsSeen || got[0].Status {
		t.Fatalf("conditions %+v, want one of %s", got, v1.ConditionPacketsSeen)
	}
	for _, name := range names {
		if !strings.Contains(got[0].Message, name) {
			t.Errorf("%q does not name %q", got[0].Message, name)
		}
	}
}

// The kernel takes an egress filter at an ingress qdisc, and runs it at ingress.
func TestAnIngressQdiscTakesNoEgressFilter(t *testing.T) {
	nstest.New(t).Veth(t, "eth5", "peer5", "", "")
	index := nstest.MustLink(t, "eth5").Attrs().Index
	must(t, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}))
	s := mustHook(t, Options{WithoutTCX: true, Egress: asked})
	s.expect(t, "eth5", "tc: attach TC egress filter: somebody's ingress qdisc")
	if s.SeesEgress(index) {
		t.Error("egress counts as served")
	}
	expectAttached(t, "eth5", 0, 1, false)
}
