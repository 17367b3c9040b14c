package kind

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// follow is how soon all neighbours of a node know that it came or went.
const follow = 2 * time.Second

// mesh has the late worker come, go with its Node, and come back.
func mesh() {
	apis := map[lab.Machine]*http.Client{} // of all nodes but the late one

	BeforeAll(func(ctx SpecContext) {
		own := certificateOf(ctx, "kube-weir-tls")
		for _, n := range nodes() {
			if n != late() {
				apis[n] = apiOf(n, own)
				DeferCleanup(apis[n].CloseIdleConnections)
			}
		}
	})

	// neighbours are the nodes that have the late one for a neighbour, at least in a state of the session.
	neighbours := func(states ...string) func(context.Context) ([]string, error) {
		return func(ctx context.Context) (names []string, err error) {
			for n, api := range apis {
				var status v1.BGPStatus
				if err := read(ctx, api, "/v1/bgp", &status); err != nil {
					return nil, err
				}
				if slices.ContainsFunc(status.Peers, func(p v1.PeerStatus) bool {
					return p.Address == late().Address && (len(states) == 0 || slices.Contains(states, p.State))
				}) {
					names = append(names, n.Name)
				}
			}
			return names, nil
		}
	}
	// by expects something of the neighbours before all of them must have followed an event.
	by := func(ctx context.Context, event time.Time) AsyncAssertion {
		GinkgoHelper()
		return Eventually(ctx, neighbours()).WithTimeout(time.Until(event.Add(follow))).WithPolling(20 * time.Millisecond)
	}

	It("has all neighbours follow within 2 s when a pod is ready on a node that had none", func(ctx SpecContext) {
		Expect(neighbours()(ctx)).To(BeEmpty())
		letIn(ctx)
		by(ctx, awaitReady(ctx, late())).Should(HaveLen(len(apis)))
	}, NodeTimeout(5*time.Minute))

	It("has them follow within 2 s when the Node is deleted, and when it is back", func(ctx SpecContext) {
		soon(ctx, neighbours("established")).Should(HaveLen(len(apis)))
		node, err := cluster.Kubectl(ctx, "get", "node", late().Name, "-o", "json")
		Expect(err).NotTo(HaveOccurred())
		deleted := time.Now()
		wait(ctx, "delete", "node", late().Name)
		by(ctx, deleted).Should(BeEmpty())
		created := time.Now()
		// Kubernetes has not yet ended the pods of a Node that is gone.
		Expect(cluster.Restore(ctx, node)).To(Succeed())
		by(ctx, created).Should(HaveLen(len(apis)))
		soon(ctx, neighbours("established")).Should(HaveLen(len(apis)))
		wait(ctx, "wait", "--for=condition=Ready", "node", late().Name, "--timeout=2m")
	}, NodeTimeout(5*time.Minute))
}

// awaitReady waits until the endpoint of weir's peer on a node is ready, and returns a time at which it was not yet.
func awaitReady(ctx context.Context, on lab.Machine) (before time.Time) {
	GinkgoHelper()
	ready := func(ctx context.Context) ([]string, error) {
		asked := time.Now()
		out, err := cluster.Kubectl(ctx, "-n", "weir-system", "get", "endpointslices", "-l", "kubernetes.io/service-name=loxilb-peer-service",
			"-o", "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}")
		addresses := strings.Fields(out)
		if err == nil && !slices.Contains(addresses, on.Address.String()) {
			before = asked
		}
		return addresses, err
	}
	soon(ctx, ready).WithPolling(20 * time.Millisecond).Should(ContainElement(on.Address.String()))
	Expect(before).NotTo(BeZero(), "it was ready before")
	return before
}
