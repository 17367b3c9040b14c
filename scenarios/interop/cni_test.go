package interop

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/spec"
)

// onOtherPort has all of weir listen on weirPort, and the client find it there.
func onOtherPort(p *spec.Page) {
	p.Nodes["worker2"].Processes[1].Command += " --listenBGPPort=" + weirPort
	bird := p.Nodes["client"].Files
	bird["bird.conf"] = strings.ReplaceAll(bird["bird.conf"], " as 64512; }", " port "+weirPort+" as 64512; }")
}

// cniOf is BIRD as a CNI with BGP (Calico) runs it: each worker tells the other
// its block of pods, over port 179.
const cniOf = `log stderr all;
router id 192.168.80.%[1]d;
protocol device { scan time 5; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol static pods1 { ipv4; route 10.244.%[1]d.0/24 blackhole; }
protocol bgp mesh1 {
  local 192.168.80.%[1]d as 64600;
  neighbor 192.168.80.%[2]d as 64600;
  direct;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  ipv4 { import all; export where proto = "pods1"; };
}
`

// besideCNI is the article with such a BIRD on both workers.
func besideCNI(p *spec.Page) {
	onOtherPort(p)
	for name, pair := range map[string][2]int{"worker1": {101, 102}, "worker2": {102, 101}} {
		n := p.Nodes[name]
		if n.Files == nil {
			n.Files = map[string]string{}
		}
		n.Files["cni.conf"] = fmt.Sprintf(cniOf, pair[0], pair[1])
		n.Processes = append(n.Processes, spec.Process{
			Name: "cni", Command: "bird -f -c {{.State}}/cni.conf -s {{.State}}/cni.ctl -P {{.State}}/cni.run",
			Ready: &spec.Ready{Socket: "{{.State}}/cni.ctl"},
		})
	}
}

// besideGoBGP is the article with Debian's gobgpd on worker1 and a session of
// its own to the client, whose BIRD tells it 198.51.100.0/24.
func besideGoBGP(p *spec.Page) {
	onOtherPort(p)
	other := gobgpd()
	other.Command = strings.Replace(other.Command, ":50051", ":50052", 1)
	other.Ready = &spec.Ready{TCP: "127.0.0.1:50052"}
	n := p.Nodes["worker1"]
	n.Files = map[string]string{"gobgpd.toml": config("gobgpd-worker.toml")}
	n.Processes = append(n.Processes, other)
	p.Nodes["client"].Files["bird.conf"] += `
protocol static outside { ipv4; route 198.51.100.0/24 blackhole; }
protocol bgp gobgp1 from weir {
  neighbor 192.168.80.101 as 64700;
  ipv4 { import none; export where proto = "outside"; };
}
`
}

var _ = Describe("On a worker beside weir", func() {
	for _, other := range []struct {
		name, process string
		change        func(*spec.Page)
		// knows tells what the other speaker learned, in its own way.
		knows func(context.Context, *lab.Lab) (string, error)
		learn string
	}{
		{
			"a CNI's BIRD", "cni", besideCNI,
			func(ctx context.Context, l *lab.Lab) (string, error) {
				return l.Node("worker1").Run(ctx, "ip", "route")
			},
			`(?m)^10\.244\.102\.0/24 via 192\.168\.80\.102 dev eth1 proto bird metric 32 *$`,
		},
		{
			"Debian's gobgpd", "gobgpd", besideGoBGP,
			func(ctx context.Context, l *lab.Lab) (string, error) {
				return l.Node("worker1").Run(ctx, "/usr/bin/gobgp", "--port", "50052", "global", "rib")
			},
			`198\.51\.100\.0/24 +192\.168\.80\.1 `,
		},
	} {
		Describe(other.name, Ordered, ContinueOnFailure, func() {
			var l *lab.Lab
			routes := func(ctx context.Context) (string, error) { return l.Node("worker1").Run(ctx, "ip", "route") }
			knows := func(ctx context.Context) (string, error) { return other.knows(ctx, l) }
			BeforeAll(func(ctx SpecContext) {
				l = lab.UpPage(ctx, "article", harness.Options{Change: other.change})
				l.ExpectConverged(ctx, lab.Master1)
			})
			It("has port 179 and its routes, weir has the service address's", func(ctx SpecContext) {
				harness.Soon(ctx, knows).Should(MatchRegexp(other.learn))
				harness.Soon(ctx, routes).Should(MatchRegexp(routeOfWeir))
				Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
			})
			It("and neither loses anything when the other restarts", func(ctx SpecContext) {
				for _, name := range []string{other.process, "weir"} {
					p := l.Node("worker1").Process(name)
					Expect(p.Kill(ctx)).To(Succeed())
					Expect(routes(ctx)).To(MatchRegexp(routeOfWeir), "without %s", name)
					Expect(p.Start(ctx)).To(Succeed())
					harness.Soon(ctx, knows).Should(MatchRegexp(other.learn))
				}
				l.ExpectConverged(ctx, lab.Master1)
				Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
			})
			It("control: without the services only weir's route goes", func(ctx SpecContext) {
				l.Withdraw(lab.Services...)
				harness.Soon(ctx, routes).ShouldNot(MatchRegexp(routeOfWeir))
				Expect(knows(ctx)).To(MatchRegexp(other.learn))
			})
		})
	}
})
