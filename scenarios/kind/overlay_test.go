package kind

import (
	"fmt"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// overlay has the article's services answered by pods that their nodes reach inside a VXLAN, as in the article's K3s.
func overlay() {
	It("is what the nodes reach each other's pods by", func(ctx SpecContext) {
		for _, n := range nodes() {
			soon(ctx, on(n, "ip", "-details", "link", "show", "flannel.1")).Should(And(
				ContainSubstring("mtu 1450"),
				MatchRegexp(`vxlan id 1 local %s dev eth0 .*dstport 8472 nolearning`, regexp.QuoteMeta(n.Address.String()))))
			for _, other := range nodes() {
				if other == n {
					continue
				}
				soon(ctx, on(n, "bridge", "fdb", "show", "dev", "flannel.1")).Should(ContainSubstring("dst " + other.Address.String() + " self permanent"))
			}
			soon(ctx, on(n, "ip", "route", "show", "dev", "flannel.1")).Should(MatchRegexp(`(?m)^(10\.244\.\d+)\.0/24 via \S+ onlink`))
			soon(ctx, on(n, "ip", "neigh", "show", "dev", "flannel.1")).Should(MatchRegexp(`(?m)^10\.244\.\d+\.0 lladdr \S+ PERMANENT`))
		}
	})

	It("is left alone: weir is where packets come to the node, and nowhere else", func(ctx SpecContext) {
		for _, m := range cluster.Masters {
			soon(ctx, m.Programs).Should(Equal(map[string][]string{"eth0": {"weir_tc", "weir_egress"}}), m.Name)
		}
		for _, w := range cluster.Workers {
			Expect(w.Programs(ctx)).To(BeEmpty(), w.Name)
		}
	})

	Context("with usepodnetwork", byPodAddress)
}

// byPodAddress has the article's services answered by pods that the load balancer nodes send to by their addresses.
func byPodAddress() {
	It("has the pods as endpoints", func(ctx SpecContext) {
		for _, s := range services {
			wait(ctx, "annotate", "svc", s.name, "loxilb.io/usepodnetwork=yes")
			for _, m := range cluster.Masters {
				soon(ctx, endpoints(m, s.name)).Should(ConsistOf(podAddresses(ctx, s.pod)), fmt.Sprintf("%s on %s", s.name, m.Name))
			}
		}
	})

	answers()

	It("goes back to node ports", func(ctx SpecContext) {
		for _, s := range services {
			wait(ctx, "annotate", "svc", s.name, "loxilb.io/usepodnetwork-")
			for _, m := range cluster.Masters {
				soon(ctx, endpoints(m, s.name)).Should(And(HaveLen(1), Not(ContainElement(BeElementOf(podAddresses(ctx, s.pod))))))
			}
		}
	})
}
