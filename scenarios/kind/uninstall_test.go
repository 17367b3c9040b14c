package kind

import (
	"context"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// uninstall takes weir out of the cluster again. It comes last.
func uninstall() {
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
	for _, m := range nodes() {
		for _, look := range []string{
			"ls -d /sys/fs/bpf/weir /var/lib/weir /run/weir 2>/dev/null || true",
			"ip route show table all proto bgp",
			"ip route show table all proto 119",
		} {
			left, err := m.Run(ctx, "sh", "-c", look)
			Expect(err).NotTo(HaveOccurred())
			Expect(left).To(BeEmpty(), "%s: %s", m.Name, look)
		}
		Expect(m.Programs(ctx)).To(BeEmpty(), m.Name)
	}
}
