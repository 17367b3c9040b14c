package badinput

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

var _ = Describe("A program", Ordered, ContinueOnFailure, func() {
	var l *cluster.Lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	for _, refused := range []struct{ what, pools, message string }{
		{"pools that overlap", "one=203.0.113.0/24,two=203.0.113.128/25", "overlap"},
		{"a prefix of /33", "one=203.0.113.0/33", "/33"},
		{"a range that ends before it begins", "one=203.0.113.9-203.0.113.1", "203.0.113.9-203.0.113.1"},
		{"a pool that is none", "one=somewhere", "somewhere"},
	} {
		It("kube-weir does not start with "+refused.what, func(ctx SpecContext) {
			socket := filepath.Join(l.Node("worker1").Dir(), "refused.sock")
			code, out := run(ctx, l.Node("worker1"), "kube-weir", "--manifests="+l.Manifests(), "--cidrPools="+refused.pools, "--socket="+socket)
			Expect(code).To(Equal(1), out)
			Expect(out).To(And(HavePrefix("kube-weir: read --cidrPools: "), ContainSubstring(refused.message)))
			Expect(socket).NotTo(BeAnExistingFile())
			expectGoodServed(ctx, l)
		})
	}

	It("weir does not start without the rights it needs, names them, and touches nothing", func(ctx SpecContext) {
		socket := filepath.Join(l.Node("worker2").Dir(), "refused.sock")
		// Root with an empty bounding set: no program that it starts has a capability.
		powerless := []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}
		code, out := run(ctx, l.Node("worker2"), append(powerless, "weir", "--socket="+socket, "--listen=127.0.0.1:0")...)
		Expect(code).To(Equal(1), out)
		Expect(out).To(And(ContainSubstring("nothing was touched"),
			ContainSubstring("CAP_BPF"), ContainSubstring("CAP_NET_ADMIN"), ContainSubstring("CAP_PERFMON")))
		code, out = run(ctx, l.Node("worker2"), append(powerless, "weir", "--peer", "--socket="+socket, "--listen=127.0.0.1:0")...)
		Expect(code).To(Equal(1), out)
		Expect(out).To(And(ContainSubstring("nothing was touched"), ContainSubstring("CAP_NET_ADMIN"), Not(ContainSubstring("CAP_BPF"))))
		_, err := os.Stat(socket)
		Expect(err).To(MatchError(fs.ErrNotExist))
		Expect(attached(ctx, l, "worker2")).To(BeEmpty())
	})

	It("weir does not start on a machine that does not forward, and says which setting", func(ctx SpecContext) {
		socket := filepath.Join(l.Node("client").Dir(), "refused.sock")
		code, out := run(ctx, l.Node("client"), "weir", "--socket="+socket, "--listen=127.0.0.1:0")
		Expect(code).To(Equal(1), out)
		Expect(out).To(And(ContainSubstring("nothing was touched"), ContainSubstring("net.ipv4.ip_forward=1")))
		Expect(attached(ctx, l, "client")).To(BeEmpty())
	})

	It("control: where weir runs, the look for its programs finds them", func(ctx SpecContext) {
		Expect(attached(ctx, l, "lb")).To(ContainSubstring("eth1: "))
	})

	It("kube-weir tries a node that does not answer again and again, shows it, and serves by the others", func(ctx SpecContext) {
		extra := cluster.Service{Name: "extra", Protocol: probe.TCP, Port: 9000}
		peer := l.Node("worker2").Process("weir")
		harness.Soon(ctx, nodeStatus(l, "worker2")).Should(HaveField("State", v1.PushInSync))
		harness.Step("weir on worker2 dies, and a service comes", func() {
			Expect(peer.Kill(ctx)).To(Succeed())
			l.Deploy(extra, "pod1")
			DeferCleanup(l.RemoveManifest, extra.File())
		})
		harness.Step("its state says so, with pauses that grow", func() {
			expectBackOff(ctx, l, "worker2")
			Expect(weirctl(ctx, l, "get", "nodes")).To(MatchRegexp(`(?m)^worker2 +198\.51\.100\.102 +peer +no +no +retrying +\S+ +\S+ +[3-9][0-9]* +.*refused`))
		})
		harness.Step("the load balancer has the new service meanwhile", func() {
			l.ExpectBackends(ctx, extra, "pod1")
			Expect(nodeStatus(l, "lb")(ctx)).To(And(HaveField("State", v1.PushInSync), HaveField("Attempts", 0)))
			expectGoodServed(ctx, l)
		})
		harness.Step("it comes back and gets what it missed", func() {
			Expect(peer.Start(ctx)).To(Succeed())
			harness.Soon(ctx, nodeStatus(l, "worker2")).Should(And(
				HaveField("State", v1.PushInSync), HaveField("Attempts", 0), HaveField("LastError", "")))
		})
	})
})

// nodeStatus is what kube-weir says of a node.
func nodeStatus(l *cluster.Lab, name string) func(context.Context) (v1.ControllerNode, error) {
	return func(ctx context.Context) (v1.ControllerNode, error) {
		status, err := l.Controller.Controller(ctx)
		for _, n := range status.Nodes {
			if n.Name == name {
				return n, err
			}
		}
		return v1.ControllerNode{}, err
	}
}

// expectBackOff watches a node's retries until their pauses have doubled twice.
func expectBackOff(ctx context.Context, l *cluster.Lab, name string) {
	GinkgoHelper()
	var first, longest time.Duration
	harness.Soon(ctx, func(ctx context.Context) (time.Duration, error) {
		n, err := nodeStatus(l, name)(ctx)
		if err != nil || n.State != v1.PushRetrying || n.NextRetry.IsZero() {
			return 0, err
		}
		left := time.Until(n.NextRetry)
		if first == 0 && left > 0 {
			first = max(left, 200*time.Millisecond)
		}
		longest = max(longest, left)
		return longest - 3*first, nil
	}).Should(BeNumerically(">", 0), "pauses between tries grow")
	Expect(nodeStatus(l, name)(ctx)).To(And(
		HaveField("Attempts", BeNumerically(">=", 3)), HaveField("LastError", ContainSubstring("refused"))))
}

// attached counts the programs on each of the node's interfaces, "" without
// any: TCX by the kernel itself, since many a bpftool does not know it, all
// others by bpftool.
func attached(ctx context.Context, l *cluster.Lab, name string) string {
	GinkgoHelper()
	found := ""
	Expect(l.Node(name).Do(func() error {
		interfaces, err := net.Interfaces()
		for _, i := range interfaces {
			for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				// A kernel without TCX says so, and has none.
				if have, err := link.QueryPrograms(link.QueryOptions{Target: i.Index, Attach: at}); err == nil && len(have.Programs) > 0 {
					found += fmt.Sprintf("%s: %d by %s\n", i.Name, len(have.Programs), at)
				}
			}
		}
		return err
	})).To(Succeed())
	out, err := l.Node(name).Run(ctx, "bpftool", "--json", "net", "show")
	Expect(err).NotTo(HaveOccurred())
	for _, m := range deviceName.FindAllStringSubmatch(out, -1) {
		found += m[1] + ": by XDP or TC\n"
	}
	return found
}

var deviceName = regexp.MustCompile(`"devname":"([^"]+)"`)
