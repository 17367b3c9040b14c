package kind

import (
	"context"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// routed has weir beside a network whose own BGP speakers, of the same AS, hold port 179 of every node, as Calico's do.
func routed() {
	var (
		podRoutes map[string]string // of each node, before weir came
		sessions  map[string]string
	)

	BeforeAll(func(ctx SpecContext) {
		Expect(cluster.Route(ctx, lab.Images(root))).To(Succeed())
		for _, n := range nodes() {
			for _, other := range nodes() {
				if other != n {
					soon(ctx, on(n, "ip", "route", "show", "proto", "bird")).Should(
						MatchRegexp(`(?m)^10\.244\.\d+\.0/24 via %s dev eth0 `, regexp.QuoteMeta(other.Address.String())), n.Name)
				}
			}
			Expect(on(n, "ip", "-o", "link")(ctx)).NotTo(ContainSubstring("flannel.1"), n.Name)
			soon(ctx, birdSessions(n)).Should(WithTransform(lines, HaveLen(len(nodes())-1)), n.Name)
		}
		podRoutes, sessions = ofNetwork(ctx)
		cluster.ListenBGPPort = 1791
		Expect(cluster.PeerClient(ctx)).To(Succeed())
		Expect(cluster.Install(ctx, root)).To(Succeed())
	}, NodeTimeout(8*time.Minute))

	It("has sessions of its own at another port", func(ctx SpecContext) {
		for _, m := range cluster.Masters {
			name := pod(ctx, "loxilb-app", m)
			meets(ctx, name, m)
			soon(ctx, exec(name, "gobgp", "neigh")).Should(MatchRegexp(established(cluster.Client, lab.ClientASN)))
		}
		for _, w := range cluster.Workers {
			meets(ctx, pod(ctx, "loxilb-peer-app", w), w)
		}
		for _, n := range nodes() {
			soon(ctx, on(n, "ss", "-Hltn")).Should(And(MatchRegexp(`:179 `), MatchRegexp(`:1791 `)), n.Name)
		}
	})

	It("leads the client and the workers to one master", leadsToOneMaster)

	answers()

	It("takes nothing of the network's, and tells it nothing", func(ctx SpecContext) {
		for _, n := range nodes() {
			Expect(on(n, "ip", "route", "show", "table", "all", "proto", "bgp")(ctx)).NotTo(ContainSubstring("10.244."), n.Name)
			Expect(bird(n, "show", "route")(ctx)).NotTo(ContainSubstring("123.123.123."), n.Name)
		}
		Expect(on(cluster.Client, "ip", "route")(ctx)).NotTo(ContainSubstring("10.244."))
		for _, m := range cluster.Masters {
			Expect(exec(pod(ctx, "loxilb-app", m), "gobgp", "global", "rib")(ctx)).To(
				And(ContainSubstring("123.123.123.1/32"), Not(ContainSubstring("10.244."))), m.Name)
		}
	})

	It("leaves the network's routes and sessions as they were when it is taken off", func(ctx SpecContext) {
		wait(ctx, "delete", "svc", "nginx-lb1", "udp-lb1", "sctp-lb1", "--timeout=1m")
		removeArticle(ctx)
		clean(ctx)
		routes, standing := ofNetwork(ctx)
		Expect(routes).To(Equal(podRoutes))
		Expect(standing).To(Equal(sessions), "since when each stands")
	}, NodeTimeout(6*time.Minute))
}

// bird is a command of the network's speaker on a node.
func bird(n lab.Machine, command ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		name := pod(ctx, "cni-bgp", n)
		return cluster.Kubectl(ctx, append([]string{"-n", "kube-system", "exec", name, "--", "birdc", "-r", "-s", "/run/bird.ctl"}, command...)...)
	}
}

var birdSession = regexp.MustCompile(`(?m)^node\d+ +BGP .*Established.*$`)

// birdSessions are the lines of the network's sessions that stand, each with since when.
func birdSessions(n lab.Machine) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := bird(n, "show", "protocols")(ctx)
		return strings.Join(birdSession.FindAllString(out, -1), "\n"), err
	}
}

// ofNetwork is what the network has on each node: its routes to the pods of others, and its sessions.
func ofNetwork(ctx context.Context) (routes, sessions map[string]string) {
	GinkgoHelper()
	routes, sessions = map[string]string{}, map[string]string{}
	for _, n := range nodes() {
		out, err := n.Run(ctx, "ip", "route", "show", "proto", "bird")
		Expect(err).NotTo(HaveOccurred())
		standing, err := birdSessions(n)(ctx)
		Expect(err).NotTo(HaveOccurred())
		routes[n.Name], sessions[n.Name] = out, standing
	}
	return routes, sessions
}

// lines are the lines of a command's output that are not empty.
func lines(out string) []string {
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}
