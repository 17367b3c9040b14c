package kind

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// settings is a folder of a user's own, as docs/install.md has it.
const settings = `resources: [../base]
patches:
- target: {kind: Deployment, name: kube-weir}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: "--cidrPools=defaultPool=123.123.123.1/24"}
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: "--extBGPPeers=%s:%d"}
`

// late is a worker that weir's peer may not run on when it is installed, before letIn.
func late() lab.Machine { return cluster.Workers[1] }

// letIn has weir's peer run on the late worker, too.
func letIn(ctx context.Context) {
	GinkgoHelper()
	wait(ctx, "patch", "node", late().Name, "-p", `{"spec":{"taints":null}}`)
}

// base installs deploy/base by kustomize, after the article's weir was removed.
func base() {
	var address string // of the service, and its port

	BeforeAll(func(ctx SpecContext) {
		removeArticle(ctx)
		for _, m := range cluster.Masters {
			_, err := m.Run(ctx, "sh", "-c", "! mountpoint --quiet /sys/fs/bpf || umount /sys/fs/bpf")
			Expect(err).NotTo(HaveOccurred())
			Expect(bpfMounts(ctx, m)).To(BeEmpty(), m.Name)
		}
		Expect(cluster.Copy(ctx, filepath.Join(root, "deploy", "base"), "base")).To(Succeed())
		own, err := os.MkdirTemp("", "weir-settings-")
		Expect(err).NotTo(HaveOccurred())
		defer os.RemoveAll(own)
		page := fmt.Sprintf(settings, cluster.Client.Address, lab.ClientASN)
		Expect(os.WriteFile(filepath.Join(own, "kustomization.yaml"), []byte(page), 0o600)).To(Succeed())
		Expect(cluster.Copy(ctx, own, "my-weir")).To(Succeed())
		wait(ctx, "taint", "node", late().Name, "late=yes:NoSchedule")
		DeferCleanup(func(ctx SpecContext) { letIn(ctx) })
		installBase(ctx)
	}, NodeTimeout(8*time.Minute))

	It("comes up with certificates of its own and the rights of its manifests", func(ctx SpecContext) {
		soon(ctx, kubectl("-n", "weir-system", "get", "secrets", "-l", "weir-lb.io/made-by=kube-weir", "-o", "name")).Should(
			And(ContainSubstring("weir-ca"), ContainSubstring("weir-tls"), ContainSubstring("kube-weir-tls")))
	}, NodeTimeout(5*time.Minute))

	It("pins in the BPF file system that its init container has mounted, which nothing else did", pinsInBPF)

	Context("among nodes that come and go", mesh)

	It("serves a client outside", func(ctx SpecContext) { address = serveWeb(ctx) }, NodeTimeout(5*time.Minute))

	Context("by its certificates", func() { certificates(func() string { return address }) })

	It("loses nothing in an upgrade of the load balancer nodes", func(ctx SpecContext) {
		end := beginLoad(ctx, address, 1000)
		wait(ctx, "-n", "weir-system", "rollout", "restart", "daemonset/weir")
		wait(ctx, "-n", "weir-system", "rollout", "status", "daemonset/weir", "--timeout=4m")
		end()
		restarts, err := cluster.Kubectl(ctx, "-n", "weir-system", "get", "pods", "-l", "app=weir",
			"-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}")
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Fields(restarts)).To(Equal([]string{"0", "0"}), "the next weir takes over what the one before has pinned")
	}, NodeTimeout(6*time.Minute))

	It("stops an upgrade to what cannot start at the first node, while the other serves, and is whole again when it is undone", func(ctx SpecContext) {
		cannotStart(ctx, address)
	}, NodeTimeout(6*time.Minute))

	It("pins where it did before the upgrades", pinsInBPF)

	Context("by native XDP", nativeXDP)

	It("is taken off again", func(ctx SpecContext) {
		wait(ctx, "delete", "svc", "web", "--timeout=1m")
		removeArticle(ctx)
		wait(ctx, "delete", "-k", "/kustomize/my-weir", "--timeout=2m")
		clean(ctx)
	}, NodeTimeout(6*time.Minute))
}

// installBase applies deploy/base with the user's own settings, and waits until it is up.
func installBase(ctx context.Context) {
	GinkgoHelper()
	wait(ctx, "apply", "-k", "/kustomize/my-weir")
	for _, what := range []string{"deployment/kube-weir", "daemonset/weir", "daemonset/weir-peer"} {
		wait(ctx, "-n", "weir-system", "rollout", "status", what, "--timeout=3m")
	}
}

// serveWeb has a service with three pods answer the client, and returns its address and port.
func serveWeb(ctx context.Context) string {
	GinkgoHelper()
	apply(ctx, "testdata/web.yml")
	wait(ctx, "rollout", "status", "deployment/web", "--timeout=2m")
	ip := kubectl("get", "svc", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	soon(ctx, ip).Should(HavePrefix("123.123.123."))
	found, err := ip(ctx)
	Expect(err).NotTo(HaveOccurred())
	address := found + ":55010"
	soon(ctx, on(cluster.Client, "weir-topo", "request", "http", address, "--count", "20")).Should(ContainSubstring("web-"))
	return address
}

// cannotStart upgrades the load balancer nodes to a weir that ends at once. web is the address and port of a service.
func cannotStart(ctx SpecContext, web string) {
	before, active := weirPods(ctx), activeMaster(ctx)
	end := beginLoadOf(ctx, "http", web, 1000)
	DeferCleanup(func(ctx SpecContext) { installBase(ctx) }) // where the spec failed half-way
	wait(ctx, "-n", "weir-system", "patch", "daemonset", "weir", "--type=json", "-p",
		`[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--no-such-flag"}]`)
	// When it was started again for the second time the rollout has gone on, if it ever took this for one that serves.
	var tried []string
	soon(ctx, func(ctx context.Context) ([]string, error) {
		out, err := cluster.Kubectl(ctx, "-n", "weir-system", "get", "pods", "-l", "app=weir", "-o",
			`jsonpath={range .items[?(@.status.containerStatuses[0].restartCount>1)]}{.spec.nodeName}{"\n"}{end}`)
		tried = lines(out)
		return tried, err
	}).ShouldNot(BeEmpty())
	kept := slices.DeleteFunc(weirPods(ctx), func(p string) bool { return !slices.Contains(before, p) })
	Expect(kept).To(HaveLen(len(before)-1), "more than one node was tried")
	AddReportEntry("tried", tried[0]+", active was "+active.Name)

	other := cluster.Masters[slices.IndexFunc(cluster.Masters, func(m lab.Machine) bool { return m.Name != tried[0] })]
	soon(ctx, routes).Should(HaveEach(ContainSubstring(" via " + other.Address.String() + " ")))
	wait(ctx, "-n", "weir-system", "rollout", "undo", "daemonset/weir")
	wait(ctx, "-n", "weir-system", "rollout", "status", "daemonset/weir", "--timeout=2m")
	Expect(weirPods(ctx)).To(And(ContainElements(kept), HaveEach(HaveSuffix(" 0"))))
	behind := loadBalancingNodes(ctx)
	for _, m := range cluster.Masters {
		soon(ctx, endpoints(m, "web")).Should(ConsistOf(behind), m.Name)
	}
	l := end()
	// What stood when the ways changed has ended with that, as in a drain: once, or twice where weir was back before
	// kube-weir had given the node up.
	Expect(len(l.lost)).To(BeNumerically("<=", 2*parallel), l.String())
	Expect(l.lost).NotTo(ContainElement(HaveField("Error", ContainSubstring("dial tcp"))), "a new connection")
}

// bpfMounts are the places where a machine has a BPF file system, a line for each mount.
func bpfMounts(ctx context.Context, m lab.Machine) string {
	GinkgoHelper()
	out, err := m.Run(ctx, "sh", "-c", "findmnt --raw --noheadings --output TARGET --types bpf || true")
	Expect(err).NotTo(HaveOccurred())
	return out
}

// pinsInBPF expects one BPF file system on each master, made by an init container, with weir's pins as the machine sees
// them, and none on workers.
func pinsInBPF(ctx SpecContext) {
	ended, err := cluster.Kubectl(ctx, "-n", "weir-system", "get", "pods", "-l", "app=weir", "-o",
		"jsonpath={.items[*].status.initContainerStatuses[?(@.name==\"prepare\")].state.terminated.exitCode}")
	Expect(err).NotTo(HaveOccurred())
	Expect(ended).To(Equal("0 0"))
	for _, m := range cluster.Masters {
		Expect(bpfMounts(ctx, m)).To(Equal("/sys/fs/bpf\n"), m.Name)
		_, err := m.Rows(ctx, "services")
		Expect(err).NotTo(HaveOccurred())
		Expect(on(m, "sh", "-c", "ls /sys/fs/bpf/weir/v*/links")(ctx)).To(MatchRegexp(`^egress-\d+\ntc-\d+\n$`), m.Name)
	}
	for _, w := range cluster.Workers {
		Expect(bpfMounts(ctx, w)).To(BeEmpty(), w.Name)
	}
}

// removeArticle removes what the article's manifests have made; what is not there is no error.
func removeArticle(ctx context.Context) {
	GinkgoHelper()
	files := lab.Manifests()
	slices.Reverse(files)
	for _, file := range files {
		Expect(cluster.Remove(ctx, filepath.Join(root, "deploy", "article", file))).To(Succeed())
	}
}
