package restart

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/scenarios/article/lab"
)

// left lists what of weir is on a node, a line each.
func left(ctx context.Context, l *lab.Lab, name string) string {
	GinkgoHelper()
	n := l.Node(name)
	var found []string
	look := func(needle string, command ...string) {
		out, err := n.Run(ctx, command[0], command[1:]...)
		Expect(err).NotTo(HaveOccurred())
		for line := range strings.Lines(out) {
			if strings.Contains(line, needle) {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	look("proto bgp", "ip", "route", "show", "table", "all")
	look("proto 119", "ip", "route", "show", "table", "all") // the VIPs' of --egr-hooks
	look("clsact", "tc", "qdisc", "show")
	look("xdp", "ip", "link", "show")
	look("PERMANENT", "ip", "neigh", "show")
	look(lab.VIP.String(), "ip", "address", "show")
	for eth := range n.Spec.Interfaces {
		found = append(found, programs(l, name, eth)...)
	}
	for _, path := range []string{"bpf", "state", "weir.sock"} {
		if _, err := os.Lstat(filepath.Join(n.Dir(), path)); err == nil {
			found = append(found, path)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	Expect(err).NotTo(HaveOccurred())
	if strings.Contains(string(mounts), n.Dir()+"/") {
		found = append(found, "a mount below "+n.Dir())
	}
	return strings.Join(found, "\n")
}

// programs are the TCX programs at an interface, a line for each direction that has any.
func programs(l *lab.Lab, node, name string) []string {
	GinkgoHelper()
	var found []string
	Expect(l.Node(node).Do(func() error {
		eth, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for where, attach := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
			at, err := link.QueryPrograms(link.QueryOptions{Target: eth.Attrs().Index, Attach: attach})
			if err != nil {
				return err
			}
			if len(at.Programs) > 0 {
				found = append(found, fmt.Sprintf("%s: %d TCX programs at %s", name, len(at.Programs), where))
			}
		}
		return nil
	})).To(Succeed())
	slices.Sort(found)
	return found
}
