package restart

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
)

// Flows that stand, and how often weir is restarted under them.
const (
	tcpFlows, udpFlows, sctpFlows = 500, 200, 20

	restarts = 20
)

var _ = Describe("weir on the active master", Ordered, func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) { l = lab.Up(ctx, harness.Options{Unrecorded: true}) })

	It("is restarted and killed, and no flow and no route notices", func(ctx SpecContext) {
		standing := open(ctx, l, tcpFlows, udpFlows, sctpFlows)
		routes := watchRoutes(ctx, l)
		harness.Step("weir is restarted, half of the times by SIGKILL", func() {
			seed := uint64(GinkgoRandomSeed())
			random := rand.New(rand.NewPCG(seed, seed))
			for i := range restarts {
				pause(ctx, time.Duration(random.IntN(1000))*time.Millisecond)
				restart(ctx, l, "master1", i%2 == 0)
				expectConfirmed(ctx, l)
			}
		})
		harness.Step("so are the speakers on the workers", func() {
			for i, w := range lab.Workers {
				restart(ctx, l, w, i == 0)
				expectSessions(ctx, l, w)
			}
			expectConfirmed(ctx, l)
		})
		harness.Step("nothing was lost", func() {
			requests, lost := standing.lost()
			AddReportEntry("requests", requests, ReportEntryVisibilityFailureOrVerbose)
			Expect(few(lost)).To(BeEmpty(), "%d of %d flows, in %d requests", len(lost), len(standing.all), requests)
			Expect(requests).To(BeNumerically(">", len(standing.all)))
			Expect(routes.changes()).To(BeEmpty())
			l.ExpectConverged(ctx, lab.Master1)
		})
	})

	It("control: with the pins taken away, the same look finds the loss", func(ctx SpecContext) {
		standing := open(ctx, l, 5, 5, 2)
		harness.Soon(ctx, func() bool { return standing.all[0].asks() }).Should(BeTrue())
		Expect(l.Node("master1").Process("weir").Kill(ctx)).To(Succeed())
		Expect(os.RemoveAll(filepath.Join(pinDir(l), "v1"))).To(Succeed())
		harness.Soon(ctx, func() bool { return standing.failed() }).Should(BeTrue())
		_, lost := standing.lost()
		Expect(lost).NotTo(BeEmpty())
		Expect(l.Node("master1").Process("weir").Start(ctx)).To(Succeed())
		l.ExpectConverged(ctx, lab.Master1)
		l.ExpectAnswers(ctx, lab.Services...)
	})

	It("is drained: the standby takes all new connections, and nothing stays behind", func(ctx SpecContext) {
		master := l.Node("master1")
		drained := make(chan error, 1)
		harness.Step("weirctl drain withdraws the VIP, and weir still forwards", func() {
			go func() {
				_, err := master.Run(ctx, "weirctl", "drain")
				drained <- err
			}()
			l.ExpectRoutes(ctx, lab.Master2)
			Expect(drained).NotTo(Receive())
		})
		harness.Step("while it ends, and after that, every new connection is served", func() {
			until := time.Now().Add(time.Second)
			asked := 0
			for ended := false; !ended || time.Now().Before(until); asked++ {
				Expect(l.Ask(ctx, patience, lab.Services...)).To(BeEmpty(), "round %d", asked)
				select {
				case err := <-drained:
					Expect(err).NotTo(HaveOccurred())
					ended, until = true, time.Now().Add(time.Second)
				default:
				}
			}
			Expect(asked).To(BeNumerically(">", 10))
		})
		harness.Step("nothing of weir is left", func() {
			Expect(master.Process("weir").Running()).To(BeFalse())
			Expect(left(ctx, l, "master1")).To(BeEmpty())
		})
		harness.Step("control: the same look finds something where weir runs", func() {
			Expect(left(ctx, l, "master2")).To(ContainSubstring("TCX"))
		})
		harness.Step("started again, it is the active one again", func() {
			Expect(master.Process("weir").Start(ctx)).To(Succeed())
			l.ExpectConverged(ctx, lab.Master1)
			l.ExpectAnswers(ctx, lab.Services...)
		})
	})

	It("is drained on a worker: learned routes go with it", func(ctx SpecContext) {
		_, err := l.Node("worker1").Run(ctx, "weirctl", "drain")
		Expect(err).NotTo(HaveOccurred())
		Expect(left(ctx, l, "worker1")).To(BeEmpty())
		Expect(left(ctx, l, "worker2")).To(ContainSubstring("proto bgp"))
	})
})

// few is a list that fits a screen.
func few(list []string) string { return strings.Join(list[:min(len(list), 10)], "\n") }

// pause waits: the next restart comes at no particular moment.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// restart ends the node's weir, killed or asked to, and starts it again.
func restart(ctx context.Context, l *lab.Lab, node string, kill bool) {
	GinkgoHelper()
	weir := l.Node(node).Process("weir")
	if kill {
		Expect(weir.Kill(ctx)).To(Succeed())
	} else {
		Expect(weir.Stop(ctx)).To(Succeed())
	}
	Expect(weir.Start(ctx)).To(Succeed())
}

// expectConfirmed waits until the peers of master1 know their routes from its
// present run: RFC 4724 has them drop what two restarts in a row left stale.
func expectConfirmed(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	expectSessions(ctx, l, "master1")
	harness.Soon(ctx, func(ctx context.Context) (string, error) {
		n := l.Node("client")
		return n.Run(ctx, "birdc", "-s", filepath.Join(n.Dir(), "bird.ctl"), "show", "protocols", "all", "master1")
	}).ShouldNot(ContainSubstring("graceful restart active"))
	for _, w := range lab.Workers {
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			return l.Node(w).Run(ctx, "gobgp", "--json", "global", "rib")
		}).ShouldNot(ContainSubstring(`"stale":true`), "routes of %s", w)
	}
}

// expectSessions waits until all BGP sessions of the node are up.
func expectSessions(ctx context.Context, l *lab.Lab, node string) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) (string, error) {
		status, err := l.Weir(node).BGP(ctx)
		if err != nil || status == nil || len(status.Peers) == 0 {
			return "BGP is not configured", err
		}
		down := ""
		for _, p := range status.Peers {
			if p.State != "established" {
				down += fmt.Sprintf("%s is %s\n", p.Address, p.State)
			}
		}
		return down, nil
	}).Should(BeEmpty(), "the sessions of %s", node)
}

func pinDir(l *lab.Lab) string { return filepath.Join(l.Node("master1").Dir(), "bpf") }

// routeWatch is every change of the VIP's routes on client and workers.
type routeWatch struct {
	stop context.CancelFunc
	ends []func() string
}

// watchRoutes begins to listen to the kernels.
func watchRoutes(ctx context.Context, l *lab.Lab) *routeWatch {
	GinkgoHelper()
	l.ExpectRoutes(ctx, lab.Master1)
	during, stop := context.WithCancel(ctx)
	w := &routeWatch{stop: stop}
	DeferCleanup(stop)
	for _, name := range append([]string{"client"}, lab.Workers...) {
		n := l.Node(name)
		cmd, err := n.Command(during, "ip", "monitor", "route")
		Expect(err).NotTo(HaveOccurred())
		var out bytes.Buffer
		cmd.Stdout = &out
		Expect(n.Start(cmd)).To(Succeed())
		w.ends = append(w.ends, func() string {
			_ = cmd.Wait() // it was killed
			return changesOf(name, out.String())
		})
	}
	return w
}

func changesOf(node, monitored string) string {
	changes := ""
	for line := range strings.Lines(monitored) {
		if strings.Contains(line, lab.VIP.String()) {
			changes += node + ": " + line
		}
	}
	return changes
}

// changes ends the listening and returns what was heard.
func (w *routeWatch) changes() string {
	w.stop()
	all := ""
	for _, end := range w.ends {
		all += end()
	}
	return all
}
