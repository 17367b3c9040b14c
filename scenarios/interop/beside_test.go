package interop

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/spec"
)

// weirPort is where weir listens while another speaker has BGP's own port.
const weirPort = "1790"

// besideFRR is the article with FRR on worker1 at port 179, as a CNI's or a
// data centre's speaker would be, with a session of its own to the client's
// BIRD: that learns the pods' network and tells 198.51.100.0/24.
func besideFRR(p *spec.Page) {
	worker := p.Nodes["worker1"]
	worker.Files = map[string]string{"zebra.conf": config("zebra.conf"), "bgpd.conf": config("frr-worker.conf")}
	worker.Processes = append(worker.Processes, zebra(), bgpd())

	onOtherPort(p)
	p.Nodes["client"].Files["bird.conf"] += `
protocol static outside { ipv4; route 198.51.100.0/24 blackhole; }
protocol bgp frr from weir {
  neighbor 192.168.80.101 as 64700;
  ipv4 { import all; export where proto = "outside"; };
}
`
}

// The routes that stand side by side on worker1, as ip prints them.
const (
	routeOfWeir = `(?m)^123\.123\.123\.1 via 192\.168\.80\.10 dev eth1 proto bgp *$`
	routeOfFRR  = `(?m)^198\.51\.100\.0/24 (nhid \d+ )?via 192\.168\.80\.1 dev eth1 proto bgp metric 20 *$`
)

var _ = Describe("FRR on a worker beside weir", Ordered, ContinueOnFailure, func() {
	var l *lab.Lab
	routes := func(ctx context.Context) (string, error) { return l.Node("worker1").Run(ctx, "ip", "route") }
	BeforeAll(func(ctx SpecContext) {
		l = lab.UpPage(ctx, "article", harness.Options{Change: besideFRR})
		l.ExpectConverged(ctx, lab.Master1)
	})

	It("has port 179, weir has 1790, and both have their sessions", func(ctx SpecContext) {
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			return l.Node("worker1").Run(ctx, "ss", "-Hltnp", "sport = :179 or sport = :"+weirPort)
		}).Should(And(MatchRegexp(`:179 .*"bgpd"`), MatchRegexp(`:1790 .*"weir"`)))
		harness.Soon(ctx, func(ctx context.Context) (*v1.BGPStatus, error) {
			o, err := l.Weir("worker1").Observed(ctx)
			return o.BGP, err
		}).Should(And(
			HaveField("ListenPort", Equal(uint16(1790))),
			HaveField("Conditions", BeEmpty()),
			HaveField("Peers", And(HaveLen(3), HaveEach(HaveField("State", "established")))),
		))
	})
	It("keeps its routes, and weir keeps its own", func(ctx SpecContext) {
		harness.Soon(ctx, routes).Should(And(MatchRegexp(routeOfFRR), MatchRegexp(routeOfWeir)))
		harness.Holds(ctx, 500*time.Millisecond, routes).Should(And(MatchRegexp(routeOfFRR), MatchRegexp(routeOfWeir)))
	})
	It("disturbs no request over TCP, UDP and SCTP", func(ctx SpecContext) {
		Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
		expectNoneLost(ctx, l)
	})
	It("may restart: zebra sweeps every bgp route it finds, weir's are back at once", func(ctx SpecContext) {
		worker := l.Node("worker1")
		for _, name := range []string{"bgpd", "zebra"} {
			Expect(worker.Process(name).Kill(ctx)).To(Succeed())
		}
		for _, name := range []string{"zebra", "bgpd"} {
			Expect(worker.Process(name).Start(ctx)).To(Succeed())
		}
		harness.Soon(ctx, routes).Should(And(MatchRegexp(routeOfFRR), MatchRegexp(routeOfWeir)))
		l.ExpectAnswers(ctx, lab.Services...)
	})
	It("loses nothing when weir there restarts", func(ctx SpecContext) {
		weir := l.Node("worker1").Process("weir")
		Expect(weir.Kill(ctx)).To(Succeed())
		Expect(routes(ctx)).To(And(MatchRegexp(routeOfFRR), MatchRegexp(routeOfWeir)))
		Expect(weir.Start(ctx)).To(Succeed())
		l.ExpectConverged(ctx, lab.Master1)
		harness.Holds(ctx, 500*time.Millisecond, routes).Should(And(MatchRegexp(routeOfFRR), MatchRegexp(routeOfWeir)))
	})
	It("control: without the services weir's route goes, FRR's stays, requests fail", func(ctx SpecContext) {
		l.Withdraw(lab.Services...)
		harness.Soon(ctx, routes).Should(And(MatchRegexp(routeOfFRR), Not(MatchRegexp(routeOfWeir))))
		Expect(l.Ask(ctx, 300*time.Millisecond, lab.Services...)).NotTo(BeEmpty())
	})
})
