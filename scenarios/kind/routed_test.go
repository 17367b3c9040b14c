package kind

import (
	"context"
	"fmt"
	"regexp"
	"slices"
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
		sessions  []string
	)

	BeforeAll(func(ctx SpecContext) {
		removeArticle(ctx) // weir would have the network's port
		Expect(cluster.Route(ctx, lab.Images(root))).To(Succeed())
		for _, n := range nodes() {
			for _, other := range nodes() {
				if other != n {
					soon(ctx, on(n, "ip", "route", "show", "proto", "bird")).Should(
						MatchRegexp(`(?m)^10\.244\.\d+\.0/24 via %s dev eth0 `, regexp.QuoteMeta(other.Address.String())), birdsSay(ctx))
				}
			}
			Expect(on(n, "ip", "-o", "link")(ctx)).NotTo(ContainSubstring("flannel.1"), n.Name)
		}
		soon(ctx, func(ctx context.Context) (_ []string, err error) {
			sessions, err = sessionsOfNetwork(ctx)
			return sessions, err
		}).Should(Satisfy(standAtBothEnds), birdsSay(ctx))
		podRoutes = routesOfNetwork(ctx)
		cluster.ListenBGPPort = 1791
		Expect(cluster.PeerClient(ctx)).To(Succeed())
		Expect(cluster.Install(ctx, root)).To(Succeed())
	}, NodeTimeout(8*time.Minute))

	It("has sessions of its own at another port", func(ctx SpecContext) {
		for _, m := range cluster.Masters {
			meets(ctx, pod(ctx, "loxilb-app", m), m)
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

	// Node ports are those of the node that has the pod: this alone crosses the routes of the network.
	Context("with usepodnetwork", byPodAddress)

	It("takes nothing of the network's, and tells it nothing", func(ctx SpecContext) {
		for _, n := range nodes() {
			Expect(on(n, "ip", "route", "show", "table", "all", "proto", "bgp")(ctx)).NotTo(ContainSubstring("10.244."), n.Name)
			Expect(bird(n, "show", "route", "where", "source", "=", "RTS_BGP")(ctx)).To(
				And(ContainSubstring("10.244."), Not(ContainSubstring("123.123.123."))), n.Name)
		}
		Expect(on(cluster.Client, "ip", "route")(ctx)).NotTo(ContainSubstring("10.244."))
		for _, m := range cluster.Masters {
			Expect(exec(pod(ctx, "loxilb-app", m), "gobgp", "global", "rib")(ctx)).To(
				And(ContainSubstring("123.123.123.1/32"), Not(ContainSubstring("10.244."))), m.Name)
		}
	})

	It("keeps its routes where the network learns them from the kernel", func(ctx SpecContext) {
		for _, n := range nodes() {
			soon(ctx, bird(n, "show", "route", "123.123.123.1/32")).Should(MatchRegexp(`123\.123\.123\.1/32 .*\[kernel1 `), n.Name)
		}
		route := routes(ctx)
		Consistently(ctx, routes).WithTimeout(quiet).WithPolling(time.Second).Should(Equal(route))
	})

	It("leaves the network's routes and sessions as they were when it is taken off", func(ctx SpecContext) {
		wait(ctx, "delete", "svc", "nginx-lb1", "udp-lb1", "sctp-lb1", "--timeout=1m")
		removeArticle(ctx)
		clean(ctx)
		for _, n := range nodes() {
			soon(ctx, bird(n, "show", "route")).ShouldNot(ContainSubstring("123.123.123."), n.Name)
		}
		Expect(routesOfNetwork(ctx)).To(Equal(podRoutes), birdsSay(ctx))
		Expect(sessionsOfNetwork(ctx)).To(Equal(sessions), birdsSay(ctx))
	}, NodeTimeout(6*time.Minute))
}

// bird is a command of the network's speaker on a node.
func bird(n lab.Machine, command ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		name := pod(ctx, "cni-bgp", n)
		return cluster.Kubectl(ctx, append([]string{"-n", "kube-system", "exec", name, "--", "birdc", "-r", "-s", "/run/bird.ctl"}, command...)...)
	}
}

var birdSession = regexp.MustCompile(`(?m)^node\d+ +BGP .*Established`)

// sessionsOfNetwork are the network's sessions, of each node those that stand, by their TCP connections: here and there.
// Since when each stands is no name for a session: BIRD reckons that anew for each question, by a clock that may be set and
// with microseconds more or less, so that the millisecond is another now and then. A session that fell and came again is
// another connection.
func sessionsOfNetwork(ctx context.Context) ([]string, error) {
	var sessions []string
	for _, n := range nodes() {
		protocols, err := bird(n, "show", "protocols")(ctx)
		if err != nil {
			return nil, err
		}
		connections, err := n.Run(ctx, "ss", "-Htn", "state", "established", "( sport = :179 or dport = :179 )")
		if err != nil {
			return nil, err
		}
		ends := lines(connections)
		if stand := len(birdSession.FindAllString(protocols, -1)); stand != len(ends) {
			return nil, fmt.Errorf("%s has %d sessions that stand and %d connections", n.Name, stand, len(ends))
		}
		for _, line := range ends {
			end := strings.Fields(line) // what is queued to read, and to send, and two addresses
			sessions = append(sessions, end[2]+" "+end[3])
		}
	}
	slices.Sort(sessions)
	return sessions, nil
}

// standAtBothEnds tells whether each node has a session with each other, and both have the same.
func standAtBothEnds(sessions []string) bool {
	for _, s := range sessions {
		here, there, _ := strings.Cut(s, " ")
		if !slices.Contains(sessions, there+" "+here) {
			return false
		}
	}
	return len(sessions) == len(nodes())*(len(nodes())-1)
}

// birdsSay is for reports: what the network's speakers have logged, which is why a session fell.
func birdsSay(ctx context.Context) func() string {
	return func() string {
		said := ""
		for _, n := range nodes() {
			name, err := lookUpPod(ctx, "cni-bgp", n)
			if err != nil {
				said += fmt.Sprintf("%s: %v\n", n.Name, err)
				continue
			}
			out, err := cluster.Kubectl(ctx, "-n", "kube-system", "logs", name)
			said += fmt.Sprintf("%s:\n%s\n", n.Name, out)
			if err != nil {
				said += err.Error() + "\n"
			}
		}
		return said
	}
}

// routesOfNetwork are the network's routes to the pods of other nodes, of each node.
func routesOfNetwork(ctx context.Context) map[string]string {
	GinkgoHelper()
	routes := map[string]string{}
	for _, n := range nodes() {
		out, err := n.Run(ctx, "ip", "route", "show", "proto", "bird")
		Expect(err).NotTo(HaveOccurred())
		routes[n.Name] = out
	}
	return routes
}

// lines are the lines of a command's output that are not empty.
func lines(out string) []string {
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}
