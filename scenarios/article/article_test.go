package article

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/replay"
)

// table is the article's, to the space.
const table = `|  EXTERNAL IP  | PORT  | PROTOCOL | BLOCK | SELECT |  MODE  |# OF ENDPOINTS| MONITOR |
|---------------|-------|----------|-------|--------|--------|--------------|---------|
| 123.123.123.1 | 55002 | tcp      |     0 | rr     |fullnat |            1 | Off     |
| 123.123.123.1 | 55003 | udp      |     0 | rr     |fullnat |            1 | On      |
| 123.123.123.1 | 55004 | sctp     |     0 | rr     |fullnat |            1 | On      |
`

var _ = Describe("The article", Ordered, ContinueOnFailure, func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) { l = lab.Up(ctx, harness.Options{}) })

	// says waits until a command on a node prints what it should.
	says := func(ctx context.Context, node, name string, args ...string) AsyncAssertion {
		return harness.Soon(ctx, func(ctx context.Context) (string, error) { return l.Node(node).Run(ctx, name, args...) }).
			WithPolling(100 * time.Millisecond)
	}

	Describe("prints", func() {
		for _, master := range lab.Masters {
			It("its table of services on "+master+", byte for byte", func(ctx SpecContext) {
				says(ctx, master, "weirctl", "get", "lb").Should(Equal(table))
			})
			It("each endpoint with its state on "+master+" for -o wide", func(ctx SpecContext) {
				for _, row := range []string{
					`default/nginx-lb1 +\|.*\| 192\.168\.80\.101 +\| 32694 +\| +1 +\| active`,
					`default/udp-lb1 +\|.*\| 192\.168\.80\.102 +\| 30165 +\| +1 +\| active`,
					`default/sctp-lb1 +\|.*\| 192\.168\.80\.101 +\| 31402 +\| +1 +\| active`,
				} {
					says(ctx, master, "weirctl", "get", "lb", "-o", "wide").Should(MatchRegexp(row))
				}
			})
			It("the same for programs on "+master+" for -o json", func(ctx SpecContext) {
				out, err := l.Node(master).Run(ctx, "weirctl", "get", "lb", "-o", "json")
				Expect(err).NotTo(HaveOccurred())
				var services []v1.ServiceStatus
				Expect(json.Unmarshal([]byte(out), &services)).To(Succeed())
				Expect(services).To(HaveEach(And(
					HaveField("VIP", lab.VIP), HaveField("Mode", v1.ModeFullNAT), HaveField("Algorithm", v1.RoundRobin),
					HaveField("Programmed", true), HaveField("BackendStates", HaveLen(1)),
				)))
				Expect(services).To(HaveExactElements(
					And(HaveField("Port", Equal(uint16(55002))), HaveField("Protocol", v1.TCP), HaveField("Monitor", false)),
					And(HaveField("Port", Equal(uint16(55003))), HaveField("Protocol", v1.UDP), HaveField("Monitor", true)),
					And(HaveField("Port", Equal(uint16(55004))), HaveField("Protocol", v1.SCTP), HaveField("Monitor", true)),
				))
			})
		}
		It("the services of the cluster as kubectl does", func(ctx SpecContext) {
			says(ctx, "worker2", "weirctl", "--socket", l.ControllerSocket(), "get", "svc").Should(And(
				MatchRegexp(`default +nginx-lb1 +LoadBalancer +10\.43\.91\.80 +123\.123\.123\.1 +55002:32694/TCP`),
				MatchRegexp(`default +sctp-lb1 +LoadBalancer +10\.43\.149\.41 +123\.123\.123\.1 +55004:31402/SCTP`),
				MatchRegexp(`default +udp-lb1 +LoadBalancer +10\.43\.149\.142 +123\.123\.123\.1 +55003:30165/UDP`),
			))
		})
	})

	Describe("shows by gobgp", func() {
		It("the sessions of a master: client, other master, workers", func(ctx SpecContext) {
			says(ctx, "master1", "gobgp", "neighbor").Should(MatchRegexp(`(?s)^Peer +AS +Up/Down +State +\|#Received +Accepted
192\.168\.80\.1 +65101 \S+ Establ +\|.*
192\.168\.80\.11 +64512 \S+ Establ +\|.*
192\.168\.80\.101 +64512 \S+ Establ +\|.*
192\.168\.80\.102 +64512 \S+ Establ +\|[^\n]*\n$`))
		})
		It("the sessions of a worker: masters, other worker, not the client", func(ctx SpecContext) {
			says(ctx, "worker1", "gobgp", "neighbor").Should(MatchRegexp(`(?s)^Peer +AS +Up/Down +State +\|#Received +Accepted
192\.168\.80\.10 +64512 \S+ Establ +\|.*
192\.168\.80\.11 +64512 \S+ Establ +\|.*
192\.168\.80\.102 +64512 \S+ Establ +\|[^\n]*\n$`))
		})
		It("AS number, router ID and port of each node", func(ctx SpecContext) {
			for node, id := range map[string]string{
				"master1": "192.168.80.10", "master2": "192.168.80.11", "worker1": "192.168.80.101", "worker2": "192.168.80.102",
			} {
				says(ctx, node, "gobgp", "global").Should(HavePrefix(
					"AS:        64512\nRouter-ID: " + id + "\nListening Port: 179, Addresses: 0.0.0.0\n"))
			}
		})
		It("the policy of a master: the next hop is itself", func(ctx SpecContext) {
			says(ctx, "master1", "gobgp", "global", "policy").Should(MatchRegexp(`(?s)^Import policy:
    Default: (ROUTE_ACTION_)?ACCEPT
.*Export policy:
    Default: (ROUTE_ACTION_)?ACCEPT
    Name set-next-hop-self-gpolicy:
        StatementName set-next-hop-self-gstmt:
          Conditions:
.*          Actions:
             Nexthop:  self
$`))
		})
		It("the policy of a worker: none", func(ctx SpecContext) {
			says(ctx, "worker1", "gobgp", "global", "policy").Should(MatchRegexp(
				`^Import policy:\n    Default: (ROUTE_ACTION_)?ACCEPT\nExport policy:\n    Default: (ROUTE_ACTION_)?ACCEPT\n$`))
		})
	})

	Describe("leads to the active master", func() {
		It("the client, by BIRD", func(ctx SpecContext) {
			says(ctx, "client", "ip", "route").Should(ContainSubstring("123.123.123.1 via 192.168.80.10 dev eth1 proto bird metric 32 \n"))
		})
		for _, worker := range lab.Workers {
			It(worker+", by weir", func(ctx SpecContext) {
				says(ctx, worker, "ip", "route").Should(ContainSubstring("123.123.123.1 via 192.168.80.10 dev eth1 proto bgp \n"))
			})
		}
	})

	Describe("answers requests", func() {
		for _, s := range lab.Services {
			It("over "+string(s.Protocol)+", and every packet is right on every hop", func(ctx SpecContext) {
				expectRightHops(ctx, l, s, ownEnd)
			})
		}
		for _, s := range lab.Services {
			It("over "+string(s.Protocol)+", 1 000 of them, 64 at a time, none lost", func(ctx SpecContext) {
				expectNoneLost(ctx, l, s)
			})
		}
		It("in default mode to the client's second address, across the master", func(ctx SpecContext) {
			expectDefaultMode(ctx, l)
		})
		It("and has counted every packet once on both masters", func(ctx SpecContext) {
			for _, m := range lab.Masters {
				l.Counters(ctx, m)
			}
		})
	})

	It("control: the look at every hop finds a port that is not as expected", func(ctx SpecContext) {
		wrong := lab.UDP
		wrong.NodePort = netip.AddrPortFrom(wrong.NodePort.Addr(), wrong.NodePort.Port()+1)
		w := watch(l, lab.UDP, request(lab.UDP, ownEnd, 0))
		a, err := l.Requests.Do(ctx, lab.UDP.Request())
		Expect(err).NotTo(HaveOccurred())
		harness.Soon(ctx, func() string {
			return w.compare(request(lab.UDP, ownEnd, a.Local.Port()), a.Local, lab.UDP.Frontend)
		}).Should(BeEmpty())
		Expect(w.compare(request(wrong, ownEnd, a.Local.Port()), a.Local, lab.UDP.Frontend)).To(And(
			HavePrefix(a.Local.String()+" -> 123.123.123.1:55003 udp"), ContainSubstring("\nat master1:eth1 >:\n")))
	})
	It("plays the page's own steps", func(ctx SpecContext) {
		Expect(replay.Run(ctx, l.Topology, GinkgoWriter)).To(Succeed())
	})

	It("has all neighbours of a node follow within 2 s when it goes, and when it comes back", func(ctx SpecContext) {
		const manifest, worker2 = "weir-peer.yml", "192.168.80.102"
		whole := string(l.Page.ManifestFiles[manifest])
		without, _, found := strings.Cut(whole, "- addresses: ["+worker2+"]")
		Expect(found).To(BeTrue())
		// whose are the nodes that have worker2 for a neighbour.
		whose := func(ctx context.Context) (nodes []string, err error) {
			for _, node := range []string{"master1", "master2", "worker1"} {
				status, err := l.Weir(node).BGP(ctx)
				if err != nil {
					return nil, err
				}
				if slices.ContainsFunc(status.Peers, func(p v1.PeerStatus) bool { return p.Address.String() == worker2 }) {
					nodes = append(nodes, node)
				}
			}
			return nodes, nil
		}
		follow := func(to string) AsyncAssertion {
			l.Write(manifest, to)
			return Eventually(ctx, whose).WithTimeout(2 * time.Second).WithPolling(20 * time.Millisecond)
		}
		Expect(whose(ctx)).To(HaveLen(3))
		follow(without).Should(BeEmpty())
		follow(whole).Should(HaveLen(3))
		l.ExpectConverged(ctx, lab.Master1)
	})

	It("control: with the services withdrawn, every one of these looks finds the loss", func(ctx SpecContext) {
		l.Withdraw(lab.Services...)
		l.ExpectRoutes(ctx, netip.Addr{})
		says(ctx, "master1", "weirctl", "get", "lb").ShouldNot(ContainSubstring("123.123.123.1"))
		for _, s := range lab.Services {
			Expect(l.Ask(ctx, time.Second, s)).NotTo(BeEmpty())
			r := s.Request()
			r.Timeout = 300 * time.Millisecond
			Expect(l.Requests.Spread(ctx, r, 10, 10).Lost()).To(Equal(10))
		}
		withdrawn, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		Expect(replay.Run(withdrawn, l.Topology, GinkgoWriter)).NotTo(Succeed())
	})
})

var _ = Describe("The article on native XDP", Ordered, ContinueOnFailure, Label("xdp"), func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) { l = lab.Up(ctx, harness.Options{Hook: "xdp"}) })
	for _, s := range lab.Services {
		It("answers over "+string(s.Protocol)+", and every packet is right on every hop", func(ctx SpecContext) {
			expectRightHops(ctx, l, s, switchEnd)
		})
		It("answers over "+string(s.Protocol)+", 1 000 requests, 64 at a time, none lost", func(ctx SpecContext) {
			expectNoneLost(ctx, l, s)
		})
	}
})

// expectRightHops sends a request and looks at all packets of its connection
// on both ways, those of master1 at this end of its cable.
func expectRightHops(ctx context.Context, l *lab.Lab, s lab.Service, master end) {
	GinkgoHelper()
	w := watch(l, s, request(s, master, 0))
	var client netip.AddrPort
	harness.Step("the client asks "+s.Pod, func() {
		a, err := l.Requests.Do(ctx, s.Request())
		Expect(err).NotTo(HaveOccurred())
		client = a.Local
		Expect(client.Addr()).To(Equal(lab.Client))
		Expect(a.Backend).To(Equal(s.Pod))
		Expect(a.SeenClient).To(Equal(netip.AddrPortFrom(lab.VIP, client.Port())), "the pod sees the service address")
	})
	harness.Step("every packet of it is on every hop, translated and nothing else", func() {
		harness.Soon(ctx, func() string {
			return w.compare(request(s, master, client.Port()), client, s.Frontend)
		}).Should(BeEmpty())
		harness.Soon(ctx, func() string {
			return w.compare(answer(s, master, client), s.PodPort, netip.AddrPortFrom(lab.VIP, client.Port()))
		}).Should(BeEmpty())
	})
}

// expectNoneLost sends many requests through the whole chain, and holds
// master1's counters to them.
func expectNoneLost(ctx context.Context, l *lab.Lab, s lab.Service) {
	GinkgoHelper()
	const requests, parallel = 1000, 64
	before := l.Counters(ctx, "master1")
	harness.Step("the client asks 1 000 times", func() {
		result := l.Requests.Spread(ctx, s.Request(), requests, parallel)
		Expect(result.Lost()).To(BeZero(), "%s", result)
		Expect(result.Backends).To(Equal(map[string]int{s.Pod: requests}))
	})
	harness.Step("master1 has forwarded a packet each way for each, and dropped none", func() {
		after := l.Counters(ctx, "master1")
		Expect(after.Forwarded - before.Forwarded).To(BeNumerically(">=", 2*requests))
		Expect(after.Drops).To(Equal(before.Drops))
	})
}
