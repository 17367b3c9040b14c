package restart

import (
	"context"
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

	restarts, quickRestarts = 20, 40

	// newFlows are those of a drain, at least.
	newFlows = 2000
)

var _ = Describe("weir on the active master", Ordered, func() {
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) { l = lab.UpPairs(ctx, harness.Options{Unrecorded: true}) })

	It("is restarted and killed, and no flow and no route notices", func(ctx SpecContext) {
		standing := open(ctx, l, tcpFlows, udpFlows, sctpFlows)
		routes := watchRoutes(ctx, l)
		moments := randomMoments()
		harness.Step("weir is restarted, half of the times by SIGKILL, whatever it is doing", func() {
			// Until it begins, has adopted, has its sessions, works.
			moments.restarts(ctx, l, restarts, upTo(3*time.Second))
		})
		harness.Step("and as soon as it has started, or before", func() {
			moments.restarts(ctx, l, quickRestarts, upTo(200*time.Millisecond))
		})
		harness.Step("so are the speakers on the workers", func() {
			for i, w := range lab.Workers {
				moments.restart(ctx, l, w, ending(i), upTo(200*time.Millisecond))
			}
			for _, w := range lab.Workers {
				l.ExpectSessions(ctx, w)
			}
			expectConfirmed(ctx, l)
		})
		harness.Step("nothing was lost", func() {
			expectNothingLost(ctx, standing, routes)
			l.ExpectConverged(ctx, lab.Master1)
		})
	})

	It("control: with the pins taken away, the same look finds the loss", func(ctx SpecContext) {
		standing := open(ctx, l, 5, 20, 2)
		harness.Soon(ctx, standing.ask).Should(BeTrue())
		standing.unasked(func() { // a datagram that nobody forwards would fail by itself
			Expect(l.Node("master1").Process("weir").Kill(ctx)).To(Succeed())
			Expect(os.RemoveAll(filepath.Join(pinDir(l), "v3"))).To(Succeed())
			Expect(l.Node("master1").Process("weir").Start(ctx)).To(Succeed())
			l.ExpectConverged(ctx, lab.Master1)
			l.ExpectAnswers(ctx, lab.Services...)
		})
		anew := func(s lab.Service) OmegaMatcher { // no answer misses there
			return And(HavePrefix(s.Name+" flow "), ContainSubstring("answered by"), ContainSubstring("; before it was"))
		}
		named := And(ContainElement(HavePrefix(lab.Nginx.Name+" flow ")), ContainElement(anew(lab.UDP)),
			ContainElement(HavePrefix(lab.SCTP.Name+" flow ")))
		harness.Soon(ctx, standing.failures).Should(named)
		_, lost := standing.lost()
		Expect(lost).To(named)
	})

	It("control: the same look finds what is lost between a pod and its client", func(ctx SpecContext) {
		standing := open(ctx, l, 5, 0, 0)
		client := l.Node("client")
		answers := []string{"INPUT", "-s", lab.VIP.String(), "-p", "tcp", "--tcp-flags", "PSH", "PSH", "-j", "DROP"}
		_, err := client.Run(ctx, "iptables", append([]string{"-w", "-I"}, answers...)...)
		Expect(err).NotTo(HaveOccurred())
		harness.Soon(ctx, standing.byPods).Should(BeNumerically(">", 0))
		_, err = client.Run(ctx, "iptables", append([]string{"-w", "-D"}, answers...)...)
		Expect(err).NotTo(HaveOccurred())
		_, lost := standing.lost()
		Expect(lost).To(ContainElement(HavePrefix("the pods of " + lab.Nginx.Name + ": ")))
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
			until := time.Time{}
			all := newConnections(ctx, l, newFlows, func() bool {
				select {
				case err := <-drained:
					Expect(err).NotTo(HaveOccurred())
					until = time.Now().Add(time.Second)
				default:
				}
				return !until.IsZero() && time.Now().After(until)
			})
			AddReportEntry("new connections", all.requests, ReportEntryVisibilityFailureOrVerbose)
			Expect(few(all.wrong)).To(BeEmpty(), "%d connections", all.requests)
			for what := range opening {
				Expect(all.opened[what]).To(BeNumerically(">=", all.requests/len(lab.Services)), "control: %s seen", what)
			}
			Expect(few(all.again)).To(BeEmpty(), "sent again, of %v", all.opened)
		})
		harness.Step("control: the same look finds answers that are lost", func() { expectLossSeen(ctx, l) })
		harness.Step("nothing of weir is left", func() {
			Expect(master.Process("weir").Running()).To(BeFalse())
			Expect(left(ctx, l, "master1")).To(BeEmpty())
		})
		harness.Step("control: the same look finds something where weir runs", func() {
			Expect(left(ctx, l, "master2")).To(And(
				ContainSubstring("TCX programs at ingress"), ContainSubstring("TCX programs at egress"), ContainSubstring("proto 119")))
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

// expectNothingLost ends the asking and the listening.
func expectNothingLost(ctx context.Context, standing *flows, routes *routeWatch) {
	GinkgoHelper()
	requests, lost := standing.lost()
	AddReportEntry("requests", requests, ReportEntryVisibilityFailureOrVerbose)
	Expect(few(lost)).To(BeEmpty(), "%d of %d flows, in %d requests", len(lost), len(standing.all), requests)
	Expect(requests).To(BeNumerically(">", len(standing.all)))
	Expect(routes.changes(ctx)).To(BeEmpty())
}

// few is a list that fits a screen.
func few(list []string) string { return strings.Join(list[:min(len(list), 10)], "\n") }

// expectConfirmed waits until the peers of master1 know their routes from its
// present run: RFC 4724 has them drop what two restarts in a row left stale.
func expectConfirmed(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	l.ExpectSessions(ctx, "master1")
	harness.Soon(ctx, func(ctx context.Context) string { return birdSession(ctx, l) }).ShouldNot(ContainSubstring("graceful restart active"))
	for _, w := range lab.Workers {
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			return l.Node(w).Run(ctx, "gobgp", "--json", "global", "rib")
		}).ShouldNot(ContainSubstring(`"stale":true`), "routes of %s", w)
	}
}

func pinDir(l *lab.Lab) string { return filepath.Join(l.Node("master1").Dir(), "bpf") }
