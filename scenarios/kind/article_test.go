package kind

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// table is the article's, to the space.
const table = `|  EXTERNAL IP  | PORT  | PROTOCOL | BLOCK | SELECT |  MODE  |# OF ENDPOINTS| MONITOR |
|---------------|-------|----------|-------|--------|--------|--------------|---------|
| 123.123.123.1 | 55002 | tcp      |     0 | rr     |fullnat |            1 | Off     |
| 123.123.123.1 | 55003 | udp      |     0 | rr     |fullnat |            1 | On      |
| 123.123.123.1 | 55004 | sctp     |     0 | rr     |fullnat |            1 | On      |
`

// policy is what the article shows of a load balancer node.
const policy = `(?s)Import policy:.*Export policy:.*Name set-next-hop-self-gpolicy:.*` +
	`StatementName set-next-hop-self-gstmt:.*Conditions:.*Actions:.*[Nn]ext-?[Hh]op: +self`

// article is what the article types, and what it shows.
func article() {
	It("shows the three services with their address", func(ctx SpecContext) {
		soon(ctx, kubectl("get", "svc")).Should(And(
			MatchRegexp(`(?m)^nginx-lb1 +LoadBalancer +\S+ +123\.123\.123\.1 +55002:\d+/TCP `),
			MatchRegexp(`(?m)^udp-lb1 +LoadBalancer +\S+ +123\.123\.123\.1 +55003:\d+/UDP `),
			MatchRegexp(`(?m)^sctp-lb1 +LoadBalancer +\S+ +123\.123\.123\.1 +55004:\d+/SCTP `),
		))
	})

	It("prints the table of services on both masters, byte for byte", func(ctx SpecContext) {
		for _, m := range cluster.Masters {
			soon(ctx, exec(pod(ctx, "loxilb-app", m), "weirctl", "get", "lb")).Should(Equal(table))
		}
	})

	It("has the sessions and the policy of the article on both masters", func(ctx SpecContext) {
		for _, m := range cluster.Masters {
			name := pod(ctx, "loxilb-app", m)
			meets(ctx, name, m)
			soon(ctx, exec(name, "gobgp", "neigh")).Should(MatchRegexp(established(cluster.Client, lab.ClientASN)))
			soon(ctx, exec(name, "gobgp", "global", "policy")).Should(MatchRegexp(policy))
			soon(ctx, exec(name, "gobgp", "global")).Should(And(
				MatchRegexp(`(?m)^AS: +64512`), MatchRegexp(`(?m)^Router-ID: +`+regexp.QuoteMeta(m.Address.String()))))
		}
	})

	It("has the sessions of the article on both workers", func(ctx SpecContext) {
		for _, w := range cluster.Workers {
			meets(ctx, pod(ctx, "loxilb-peer-app", w), w)
		}
	})

	It("leads the client and the workers to one master", leadsToOneMaster)

	answers()
}

// exec is a command in a pod of weir's.
func exec(pod string, command ...string) func(context.Context) (string, error) {
	return kubectl(append([]string{"-n", "kube-system", "exec", pod, "--"}, command...)...)
}

// established matches gobgp's line of a session that stands.
func established(m lab.Machine, asn int) string {
	return fmt.Sprintf(`(?m)^%s +%d +\S+ +Establ`, regexp.QuoteMeta(m.Address.String()), asn)
}

// meets expects that weir's pod on a node has a session with each of the cluster's other nodes.
func meets(ctx context.Context, pod string, of lab.Machine) {
	GinkgoHelper()
	for _, other := range nodes() {
		if other != of {
			soon(ctx, exec(pod, "gobgp", "neigh")).Should(MatchRegexp(established(other, 64512)))
		}
	}
}

// leadsToOneMaster expects the client's route, and the workers', to lead to the same master.
func leadsToOneMaster(ctx SpecContext) {
	route := regexp.MustCompile(`(?m)^123\.123\.123\.1 via (\S+) dev eth0 proto (bird|bgp)`)
	soon(ctx, on(cluster.Client, "ip", "route")).Should(MatchRegexp(`(?m)^123\.123\.123\.1 via \S+ dev eth0 proto bird`))
	out, err := cluster.Client.Run(ctx, "ip", "route")
	Expect(err).NotTo(HaveOccurred())
	active := route.FindStringSubmatch(out)[1]
	Expect(active).To(BeElementOf(cluster.Masters[0].Address.String(), cluster.Masters[1].Address.String()))
	for _, w := range cluster.Workers {
		soon(ctx, on(w, "ip", "route")).Should(MatchRegexp(`(?m)^123\.123\.123\.1 via ` + regexp.QuoteMeta(active) + ` dev eth0 proto bgp`))
	}
}

// services are the article's, each with its pod.
var services = []struct{ protocol, port, name, pod string }{
	{"http", "55002", "nginx-lb1", "nginx-test"}, {"udp", "55003", "udp-lb1", "udp-test"}, {"sctp", "55004", "sctp-lb1", "sctp-test"},
}

// answers has the client ask each of the article's services.
func answers() {
	for _, service := range services {
		It("answers the client over "+strings.ToUpper(service.protocol), func(ctx SpecContext) {
			request := on(cluster.Client, "weir-topo", "request", service.protocol, "123.123.123.1:"+service.port, "--count", "20")
			soon(ctx, request).Should(ContainSubstring(service.pod))
		})
	}
}
