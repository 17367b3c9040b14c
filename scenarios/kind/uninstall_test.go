package kind

import (
	"context"
	"path/filepath"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// uninstall takes weir out of the cluster again. It comes last.
func uninstall() {
	It("control: the look for what is left finds it all while weir is there", func(ctx SpecContext) {
		for _, n := range nodes() {
			traces, err := n.Traces(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(traces).To(ContainElements("/proc/sys/net/ipv4/conf/flannel.1/rp_filter:2", "/var/lib/weir"), n.Name)
			if slices.Contains(cluster.Masters, n) {
				Expect(traces).To(ContainElements(
					"weir has BPF objects", HavePrefix("/sys/fs/bpf/weir/v"), MatchRegexp(`^123\.123\.123\.1 dev eth0 lladdr \S+ PERMANENT`),
					MatchRegexp(`^123\.123\.123\.1 dev eth0 proto 119`), "eth0 has the programs weir_tc, weir_egress"), n.Name)
			} else {
				Expect(traces).To(ContainElement(MatchRegexp(`^123\.123\.123\.1 via \S+ dev eth0 proto bgp`)), n.Name)
			}
		}
	})

	It("lets the services go, and takes their addresses back", func(ctx SpecContext) {
		wait(ctx, "delete", "svc", "nginx-lb1", "udp-lb1", "sctp-lb1", "web", "--timeout=1m")
		for _, m := range append([]lab.Machine{cluster.Client}, cluster.Workers...) {
			soon(ctx, on(m, "ip", "route", "show", "root", "123.123.123.0/24")).Should(BeEmpty())
		}
	})

	It("leaves nothing on any node", func(ctx SpecContext) {
		removeArticle(ctx)
		clean(ctx)
	})
}

// clean takes off the nodes what weir has left there, and looks for more.
func clean(ctx context.Context) {
	GinkgoHelper()
	cleaner := filepath.Join(root, "deploy", "cleanup", "weir-cleanup.yml")
	apply(ctx, cleaner)
	wait(ctx, "-n", "kube-system", "rollout", "status", "daemonset/weir-cleanup", "--timeout=2m")
	Expect(cluster.Remove(ctx, cleaner)).To(Succeed())
	Expect(cluster.Clean(ctx)).To(Succeed())
}
