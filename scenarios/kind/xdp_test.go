package kind

import (
	"context"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// nativeXDP has the load balancer nodes of deploy/base take packets by XDP, which --hook=auto leaves alone on veth.
func nativeXDP() {
	var web string // a service's address and port

	BeforeAll(func(ctx SpecContext) {
		letIn(ctx)
		wait(ctx, "-n", "weir-system", "rollout", "status", "daemonset/weir-peer", "--timeout=2m")
		web = serveWeb(ctx)
		for _, file := range []string{"nginx.yml", "udp.yml", "sctp.yml"} {
			apply(ctx, filepath.Join(root, "deploy", "article", file))
		}
		wait(ctx, "wait", "--for=condition=Ready", "pod/nginx-test", "pod/udp-test", "pod/sctp-test", "--timeout=2m")
		Expect(cluster.PrepareXDP(ctx)).To(Succeed())
		wait(ctx, "-n", "weir-system", "patch", "daemonset", "weir", "--type=json", "-p",
			`[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--hook=xdp"}]`)
		wait(ctx, "-n", "weir-system", "rollout", "status", "daemonset/weir", "--timeout=4m")
	}, NodeTimeout(8*time.Minute))

	It("has its program on the masters, and TC's for what XDP cannot do", func(ctx SpecContext) {
		for _, m := range cluster.Masters {
			soon(ctx, m.Programs).Should(Equal(map[string][]string{"eth0": {"weir_xdp", "weir_tc", "weir_egress"}}), m.Name)
		}
	})

	answers()

	It("fails no connection in 10000 while the pods behind it are replaced", func(ctx SpecContext) {
		active := activeMaster(ctx)
		before := redirected(ctx, active)
		end := beginLoad(ctx, web, 10000)
		wait(ctx, "rollout", "restart", "deployment/web")
		wait(ctx, "rollout", "status", "deployment/web", "--timeout=4m")
		end()
		// A connection has three packets of the client at least, and two of the server.
		Expect(redirected(ctx, active)-before).To(BeNumerically(">", 50000), "they went another way than XDP")
	}, NodeTimeout(6*time.Minute))
}

var xdpRedirect = regexp.MustCompile(`rx_queue_\d+_xdp_redirect: (\d+)`)

// redirected is how many packets XDP has sent on from a node's interface, as the driver counts them.
func redirected(ctx context.Context, m lab.Machine) int {
	GinkgoHelper()
	out, err := m.Run(ctx, "ethtool", "--statistics", "eth0")
	Expect(err).NotTo(HaveOccurred())
	queues := xdpRedirect.FindAllStringSubmatch(out, -1)
	Expect(queues).NotTo(BeEmpty(), out)
	sum := 0
	for _, q := range queues {
		n, err := strconv.Atoi(q[1])
		Expect(err).NotTo(HaveOccurred())
		sum += n
	}
	return sum
}
