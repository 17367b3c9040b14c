package kind

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/kind/lab"
)

func TestKind(t *testing.T) { harness.Run(t, "weir in a Kubernetes cluster") }

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

// soon expects that a command comes to print what it should.
func soon(ctx context.Context, what func(context.Context) (string, error)) AsyncAssertion {
	GinkgoHelper()
	return Eventually(ctx, what).WithTimeout(patience).WithPolling(time.Second)
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
	name, err := cluster.Kubectl(ctx, "-n", "kube-system", "get", "pods", "-l", "app="+app,
		"--field-selector", "spec.nodeName="+node.Name, "-o", "jsonpath={.items[0].metadata.name}")
	Expect(err).NotTo(HaveOccurred())
	return name
}
