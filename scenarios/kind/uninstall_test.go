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
			traces := tracesOn(ctx, n)
			Expect(traces).To(ContainElements("/proc/sys/net/ipv4/conf/flannel.1/rp_filter:2", "/var/lib/weir"), n.Name)
			if slices.Contains(cluster.Masters, n) {
				Expect(traces).To(ContainElements(
					"weir has BPF objects", HavePrefix("/sys/fs/bpf/weir/v"), MatchRegexp(`^123\.123\.123\.1 dev eth0 lladdr \S+ PERMANENT`)), n.Name)
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

// traces is a script that prints what an installation may leave on a node, a line for each thing. What belongs to pods that
// come and go is left out, and so is the BPF file system, which stays mounted as docs/install.md says. BPF objects live by
// pins, by processes and by interfaces, which lab.Machine.Programs looks at.
const traces = `
find /run /var/lib /etc /opt /tmp -xdev -name '*weir*' | grep -v -e ^/run/containerd/ -e ^/var/lib/containerd/ -e ^/var/lib/kubelet/
find /sys/fs/bpf -mindepth 1 ! -name '*.debug'
grep -slE '^(prog|map|link)_id:' /proc/[0-9]*/fdinfo/* | cut -d / -f 3 | sort -u | while read -r pid; do
	echo "$(cat "/proc/$pid/comm") has BPF objects"
done
findmnt --raw --noheadings --output TARGET,FSTYPE |
	grep -v -e ^/run/ -e ^/var/lib/kubelet/ -e ^/proc/ -e ^/sys/fs/cgroup/ -e '^/sys/fs/bpf bpf$'
findmnt --raw --noheadings --output TARGET --types bpf | sort | uniq --repeated
grep -s . /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/default/rp_filter \
	/proc/sys/net/ipv4/conf/lo/rp_filter /proc/sys/net/ipv4/conf/eth0/rp_filter /proc/sys/net/ipv4/conf/flannel.1/rp_filter
ip neigh show nud permanent | grep -v ' dev flannel.1 '
ip rule
ip -oneline address show dev lo
ip -oneline address show dev eth0
tc qdisc show dev eth0
true`

// untouched are the traces of each node before weir came for the first time.
var untouched map[string][]string

// tracesOn are those of a node.
func tracesOn(ctx context.Context, n lab.Machine) []string {
	GinkgoHelper()
	out, err := n.Run(ctx, "sh", "-c", traces)
	Expect(err).NotTo(HaveOccurred())
	return lines(out)
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
		// kubectl waits for a pod's end, not for its processes'.
		soon(ctx, func(ctx context.Context) []string { return tracesOn(ctx, m) }).Should(HaveEach(BeElementOf(untouched[m.Name])), m.Name)
	}
}
