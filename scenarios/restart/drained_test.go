package restart

import (
	"bytes"
	"context"
	"net/netip"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

// A topology of its own: pods remember the connections of others for a minute, and a new one that gets the port of such a
// one has to send its SYN again.
var _ = Describe("weir on a node that kubectl drains", Ordered, func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) { l = lab.UpPairs(ctx, harness.Options{Unrecorded: true}) })

	It("is stopped by SIGTERM when the node is told so, and restarted before", func(ctx SpecContext) {
		weir := l.Node("master1").Process("weir")
		const reason = "this node is drained (kubectl drain or cordon)"
		speakers := append([]string{"client"}, lab.Workers...)
		harness.Step("control: where it is not, all stays at work, and peers keep its path", func() {
			standing := open(ctx, l, 20, 20, 5)
			expectBothPaths(ctx, l, speakers)
			expectToEnd(ctx, weir)
			Expect(left(ctx, l, "master1")).To(And(ContainSubstring("TCX programs at ingress"), ContainSubstring("bpf"), ContainSubstring("state")))
			for _, name := range speakers {
				Expect(pathsOf(l, name)(ctx)).To(ConsistOf(lab.Master1, lab.Master2), name)
			}
			Expect(weir.Start(ctx)).To(Succeed())
			l.ExpectConverged(ctx, lab.Master1)
			expectConfirmed(ctx, l)
			_, lost := standing.lost()
			Expect(few(lost)).To(BeEmpty())
			Expect(said(l, "master1")).NotTo(ContainSubstring(reason))
		})
		harness.Step("a drained one is told so, and stands by", func() {
			cordon(l, "master1")
			expectTold(ctx, l, "master1", true)
			l.ExpectConverged(ctx, lab.Master2)
			expectTold(ctx, l, "master2", false)
			expectBothPaths(ctx, l, speakers)
			Expect(left(ctx, l, "master1")).To(ContainSubstring("TCX programs at ingress"))
		})
		standing := open(ctx, l, 50, 50, 10)
		harness.Step("SIGTERM takes its path back at once, while it forwards still", func() {
			Expect(weir.Signal(unix.SIGTERM)).To(Succeed())
			harness.Soon(ctx, pathsOf(l, "client")).Should(Equal([]netip.Addr{lab.Master2}))
			Expect(programs(l, "master1", "eth1")).To(ContainElement(ContainSubstring("at ingress")))
			Expect(weir.Running()).To(BeTrue())
			for _, name := range lab.Workers {
				harness.Soon(ctx, pathsOf(l, name)).Should(Equal([]netip.Addr{lab.Master2}), name)
			}
		})
		harness.Step("nothing of it is left, and no connection of the other master was lost", func() {
			wrong := ""
			harness.Soon(ctx, func(ctx context.Context) bool {
				wrong += l.Ask(ctx, patience, lab.Services...)
				return weir.Running()
			}).Should(BeFalse())
			Expect(wrong).To(BeEmpty())
			Expect(left(ctx, l, "master1")).To(BeEmpty())
			Expect(said(l, "master1")).To(ContainSubstring(reason))
			requests, lost := standing.lost()
			Expect(few(lost)).To(BeEmpty(), "%d of %d flows, in %d requests", len(lost), len(standing.all), requests)
			Expect(requests).To(BeNumerically(">", len(standing.all)))
		})
		harness.Step("started again, it stands by, and takes nothing back when it is not drained any more", func() {
			Expect(weir.Start(ctx)).To(Succeed())
			expectTold(ctx, l, "master1", true)
			l.ExpectConverged(ctx, lab.Master2)
			uncordon(l)
			expectTold(ctx, l, "master1", false)
			l.ExpectConverged(ctx, lab.Master2)
		})
	})
})

const nodesManifest = "nodes.yml"

// cordon marks a Node as kubectl drain and kubectl cordon do.
func cordon(l *lab.Lab, name string) {
	GinkgoHelper()
	nodes, at := l.Page.ManifestFiles[nodesManifest], "  name: "+name+"\n"
	Expect(bytes.Count(nodes, []byte(at))).To(Equal(1))
	// The name is the first field of metadata, whose indented lines go on behind.
	l.Write(nodesManifest, string(bytes.Replace(nodes, []byte("metadata:\n"+at), []byte("spec:\n  unschedulable: true\nmetadata:\n"+at), 1)))
}

// uncordon has the Nodes as they were.
func uncordon(l *lab.Lab) {
	GinkgoHelper()
	l.Write(nodesManifest, string(l.Page.ManifestFiles[nodesManifest]))
}

// expectTold waits until the node's state says that it is drained, or that it is not.
func expectTold(ctx context.Context, l *lab.Lab, name string, drained bool) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) (bool, error) {
		states, err := l.Weir(name).States(ctx)
		return states["controller"].Drained, err
	}).Should(Equal(drained), "%s is told that it is drained", name)
}

// pathsOf are the masters by which a node's speaker could reach the VIP: BIRD's on the
// client, weir's on a worker.
func pathsOf(l *lab.Lab, name string) func(context.Context) ([]netip.Addr, error) {
	return func(ctx context.Context) ([]netip.Addr, error) {
		var via []netip.Addr
		if name == "client" {
			paths, err := l.Paths(ctx)
			for _, p := range paths {
				via = append(via, p.Via)
			}
			return via, err
		}
		rib, err := l.RIB(ctx, name)
		for _, p := range rib[netip.PrefixFrom(lab.VIP, 32).String()] {
			via = append(via, p.NextHop)
		}
		return via, err
	}
}

// expectBothPaths waits until all of the nodes could reach the VIP by either master.
func expectBothPaths(ctx context.Context, l *lab.Lab, nodes []string) {
	GinkgoHelper()
	for _, name := range nodes {
		harness.Soon(ctx, pathsOf(l, name)).Should(ConsistOf(lab.Master1, lab.Master2), name)
	}
}

// said is what a node's weir has logged.
func said(l *lab.Lab, name string) string {
	GinkgoHelper()
	log, err := os.ReadFile(l.Node(name).Process("weir").Log())
	Expect(err).NotTo(HaveOccurred())
	return string(log)
}
