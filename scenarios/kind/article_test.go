package kind

import (
	"context"
	"fmt"
	"regexp"
	"slices"
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

// policyOfMaster is the article's, beside what weir has in addition: what others may not teach it, and that a standby's
// paths are longer. That of workers is none.
const (
	policyOfMaster = `^Import policy:
    Default: (ROUTE_ACTION_)?ACCEPT
(    Name (refuse-lb-vips|refuse-workers|guard-external)-gpolicy:
( {8}[^\n]*\n)+)*Export policy:
    Default: (ROUTE_ACTION_)?ACCEPT
    Name set-next-hop-self-gpolicy:
        StatementName set-next-hop-self-gstmt:
          Conditions:
(            RPKI result: UNSPECIFIED
)?          Actions:
             Nexthop:  self
(    Name prepend-standby-gpolicy:
( {8}[^\n]*\n)+)?$`
	policyOfWorker = `^Import policy:
    Default: (ROUTE_ACTION_)?ACCEPT
Export policy:
    Default: (ROUTE_ACTION_)?ACCEPT
$`
)

// kubectlTable is the article's of Services, whose cluster addresses and node ports are the cluster's.
const kubectlTable = `^NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE
kubernetes +ClusterIP +10\.96\.0\.1 +<none> +443/TCP +\w+
nginx-lb1 +LoadBalancer +10\.\d+\.\d+\.\d+ +123\.123\.123\.1 +55002:3\d{4}/TCP +\w+
sctp-lb1 +LoadBalancer +10\.\d+\.\d+\.\d+ +123\.123\.123\.1 +55004:3\d{4}/SCTP +\w+
udp-lb1 +LoadBalancer +10\.\d+\.\d+\.\d+ +123\.123\.123\.1 +55003:3\d{4}/UDP +\w+
$`

// article is what the article types, and what it shows.
func article() {
	It("shows the three services with their address", func(ctx SpecContext) {
		soon(ctx, kubectl("get", "svc")).Should(MatchRegexp(kubectlTable))
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
			soon(ctx, exec(name, "gobgp", "global", "policy")).Should(MatchRegexp(policyOfMaster))
			soon(ctx, exec(name, "gobgp", "global")).Should(HavePrefix(
				"AS:        64512\nRouter-ID: " + m.Address.String() + "\nListening Port: 179, Addresses: 0.0.0.0\n"))
		}
	})

	It("has the sessions of the article on both workers, and no policy", func(ctx SpecContext) {
		for _, w := range cluster.Workers {
			name := pod(ctx, "loxilb-peer-app", w)
			meets(ctx, name, w)
			soon(ctx, exec(name, "gobgp", "global", "policy")).Should(MatchRegexp(policyOfWorker))
		}
	})

	It("leads the client and the workers to one master", leadsToOneMaster)

	answers()
}

// exec is a command in a pod of weir's.
func exec(pod string, command ...string) func(context.Context) (string, error) {
	return kubectl(append([]string{"-n", "kube-system", "exec", pod, "--"}, command...)...)
}

// meets expects that weir's pod on a node has the sessions of the article and no others: with each of the cluster's other
// nodes, and on a master with the client.
func meets(ctx context.Context, pod string, of lab.Machine) {
	GinkgoHelper()
	peers := slices.DeleteFunc(nodes(), func(n lab.Machine) bool { return n == of })
	if slices.Contains(cluster.Masters, of) {
		peers = append(peers, cluster.Client)
	}
	slices.SortFunc(peers, func(a, b lab.Machine) int { return a.Address.Compare(b.Address) })
	page := `^Peer +AS +Up/Down +State +\|#Received +Accepted\n`
	for _, p := range peers {
		asn := 64512
		if p == cluster.Client {
			asn = lab.ClientASN
		}
		page += fmt.Sprintf(`%s +%d +\S+ Establ +\| +\d+ +\d+\n`, regexp.QuoteMeta(p.Address.String()), asn)
	}
	soon(ctx, exec(pod, "gobgp", "neigh")).Should(MatchRegexp(page + "$"))
}

// leadsToOneMaster expects the client's route, and the workers', to lead to the same master, in the article's words.
func leadsToOneMaster(ctx SpecContext) {
	route := regexp.MustCompile(`(?m)^123\.123\.123\.1 via (\S+) dev eth0 proto bird metric 32 $`)
	soon(ctx, on(cluster.Client, "ip", "route")).Should(MatchRegexp(route.String()))
	out, err := cluster.Client.Run(ctx, "ip", "route")
	Expect(err).NotTo(HaveOccurred())
	active := route.FindStringSubmatch(out)[1]
	Expect(active).To(BeElementOf(cluster.Masters[0].Address.String(), cluster.Masters[1].Address.String()))
	for _, w := range cluster.Workers {
		soon(ctx, on(w, "ip", "route")).Should(MatchRegexp(`(?m)^123\.123\.123\.1 via ` + regexp.QuoteMeta(active) + ` dev eth0 proto bgp $`))
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
