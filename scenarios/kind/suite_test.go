package kind

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// suiteTimeout is for the cluster, two minutes without an API server and 10 000 connections seven times.
const suiteTimeout = 25 * time.Minute

func TestKind(t *testing.T) { harness.RunWithin(t, "weir in a Kubernetes cluster", suiteTimeout) }

// One cluster after another story: making it takes longer than any of them.
var _ = Describe("In a Kubernetes cluster", Ordered, ContinueOnFailure, func() {
	BeforeAll(up, NodeTimeout(8*time.Minute))

	Context("the article", article)
	Context("pods behind flannel's VXLAN", overlay)
	Context("a service in its days", life)
	Context("weir removed", uninstall)
	Context("weir by kustomize", base)
	Context("beside a network that speaks BGP itself", routed)
})

// root is the repository's folder, as seen from the suite's.
const root = "../.."

// patience is how long the cluster may take for what takes seconds on an idle machine.
const patience = 2 * time.Minute

var cluster *lab.Cluster

// up makes the cluster with weir in it; it goes with the container of specs.
func up(ctx SpecContext) {
	dir, err := os.MkdirTemp("", "weir-kind-")
	Expect(err).NotTo(HaveOccurred())
	cluster = lab.Named(fmt.Sprintf("weir-%d", os.Getpid()), dir)
	DeferCleanup(func(ctx SpecContext) {
		Expect(cluster.Delete(ctx)).To(Succeed())
		Expect(os.RemoveAll(dir)).To(Succeed())
	}, NodeTimeout(patience))
	Expect(cluster.Up(ctx, root)).To(Succeed())
	Expect(cluster.Install(ctx, root)).To(Succeed())
}

// nodes are the cluster's, masters first.
func nodes() []lab.Machine { return slices.Concat(cluster.Masters, cluster.Workers) }

// soon expects that something comes true: a command that prints what it should, for one.
func soon(ctx context.Context, what any) AsyncAssertion {
	GinkgoHelper()
	return Eventually(ctx, what).WithTimeout(patience).WithPolling(time.Second)
}

// apply applies a file to the cluster.
func apply(ctx context.Context, file string) {
	GinkgoHelper()
	_, err := cluster.Apply(ctx, file)
	Expect(err).NotTo(HaveOccurred())
}

// kubectl is a command of the article.
func kubectl(args ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return cluster.Kubectl(ctx, args...) }
}

// on is a command on a machine.
func on(m lab.Machine, args ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return m.Run(ctx, args...) }
}

// pod is the pod of a DaemonSet's label on a node.
func pod(ctx context.Context, app string, node lab.Machine) string {
	GinkgoHelper()
	name, err := lookUpPod(ctx, app, node)
	Expect(err).NotTo(HaveOccurred())
	return name
}

func lookUpPod(ctx context.Context, app string, node lab.Machine) (string, error) {
	return cluster.Kubectl(ctx, "-n", "kube-system", "get", "pods", "-l", "app="+app,
		"--field-selector", "spec.nodeName="+node.Name, "-o", "jsonpath={.items[0].metadata.name}")
}
