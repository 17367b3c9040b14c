package interop

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/spec"
)

// back is how long a session that has ended may stay away: GoBGP takes no new one
// for 5 s, and two busy cores may need as long for the rest.
const back = 10 * time.Second

var worker1 = netip.MustParseAddr("192.168.80.101")

// password is that of the sessions with the client; wrong is not.
const (
	password = "s3cret-of-the-router"
	wrong    = "another-one"
)

// withPassword has the client and the masters sign their segments.
func withPassword(p *spec.Page) {
	bird := p.Nodes["client"].Files
	bird["bird.conf"] = strings.Replace(bird["bird.conf"], "  connect retry time 1;", "  password \""+password+"\";\n  connect retry time 1;", 1)
	withPasswordFile(p)
}

// withPasswordFile has the masters sign their segments to the client.
func withPasswordFile(p *spec.Page) {
	worker := p.Nodes["worker2"]
	worker.Files = map[string]string{"passwords": "# the client\n" + lab.Client.String() + " " + password + "\n"}
	worker.Processes[1].Command += " --bgpPasswordFile={{.State}}/passwords"
}

var _ = Describe("Sessions", Ordered, ContinueOnFailure, func() {
	messages, err := readCorpus()
	if err != nil {
		panic(err)
	}
	var l *lab.Lab
	BeforeAll(func(ctx SpecContext) {
		l = lab.UpPage(ctx, "article", harness.Options{Change: func(p *spec.Page) {
			withPassword(p)
			withStrangers(p, len(messages)+1)
		}})
		l.ExpectConverged(ctx, lab.Master1)
	})

	Describe("with a password", func() {
		It("come up where both ends have it, and requests work", func(ctx SpecContext) {
			Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
		})
		It("show it nowhere", func(ctx SpecContext) {
			for _, node := range lab.Masters {
				for _, args := range [][]string{
					{"curl", "--silent", "--fail", "--unix-socket", filepath.Join(l.Node(node).Dir(), "weir.sock"), "http://weir/v1/state"},
					{"curl", "--silent", "--fail", "--unix-socket", filepath.Join(l.Node(node).Dir(), "weir.sock"), "http://weir/v1/bgp"},
					{"gobgp", "--json", "neighbor"},
				} {
					out, err := l.Node(node).Run(ctx, args[0], args[1:]...)
					Expect(err).NotTo(HaveOccurred())
					Expect(out).To(And(ContainSubstring("192.168.80.1"), Not(ContainSubstring(password))), "%s of %s", args, node)
				}
				expectSilent(l, node, "weir")
			}
			expectSilent(l, "worker2", "kube-weir")
		})
		It("stay down where the peer has another, which a condition says; the other sessions stay up", func(ctx SpecContext) {
			before, err := sessions(ctx, l, "master1")
			Expect(err).NotTo(HaveOccurred())
			reconfigure(ctx, l, password, wrong)
			expectMismatch(ctx, l, "master1")
			expectUndisturbed(ctx, l, "master1", before, lab.Client)
			Expect(l.Paths(ctx)).To(BeEmpty(), "control: nothing comes over a session with the wrong password")
			reconfigure(ctx, l, wrong, password)
			l.ExpectConverged(ctx, lab.Master1)
			harness.Soon(ctx, func(ctx context.Context) ([]v1.Condition, error) { return conditions(ctx, l, "master1") }).
				ShouldNot(ContainElement(HaveField("Message", ContainSubstring("192.168.80.1:"))))
		})
	})

	It("that flap ten times lose nothing else", func(ctx SpecContext) {
		before, err := sessions(ctx, l, "master2")
		Expect(err).NotTo(HaveOccurred())
		flapping, stop := context.WithCancel(ctx)
		var lost []string
		var asked sync.WaitGroup
		asked.Go(func() {
			for flapping.Err() == nil {
				if w := l.Ask(ctx, time.Second, lab.Services...); w != "" {
					lost = append(lost, w)
				}
			}
		})
		for flap := range 10 {
			birdc(ctx, l, "disable", "master2")
			up(ctx, l).ShouldNot(HaveKey(lab.Client))
			birdc(ctx, l, "enable", "master2")
			// GoBGP takes no new session for 5 s after one ended. Most flaps do
			// not wait for that: they end a session that is coming up.
			if flap%5 == 4 {
				up(ctx, l).Should(HaveKey(lab.Client))
			}
		}
		stop()
		asked.Wait()
		Expect(lost).To(BeEmpty())
		expectUndisturbed(ctx, l, "master2", before, lab.Client)
		l.ExpectConverged(ctx, lab.Master1)
	})

	// The answers of a worker take its own route, so that while client and workers
	// differ in whom they take for active a request may have to wait.
	for _, f := range []struct {
		of, node string // whose route moves
		peer     netip.Addr
		flap     func(context.Context, *lab.Lab)
	}{
		{"the client with the active master", "client", lab.Client, func(ctx context.Context, l *lab.Lab) {
			birdc(ctx, l, "restart", "master1")
		}},
		{"a worker with the active master", "worker1", worker1, func(ctx context.Context, l *lab.Lab) {
			_, err := l.Node("worker1").Run(ctx, "gobgp", "neighbor", lab.Master1.String(), "reset")
			Expect(err).NotTo(HaveOccurred())
		}},
	} {
		It("of "+f.of+" that flap are back in time, and what stands lives", func(ctx SpecContext) {
			weir := l.Node("master1").Process("weir").PID()
			before, err := sessions(ctx, l, "master1")
			Expect(err).NotTo(HaveOccurred())
			Expect(before).To(HaveKey(f.peer))
			standing := openBoth(ctx, l)
			for range 2 {
				f.flap(ctx, l)
				harness.Soon(ctx, func(ctx context.Context) (netip.Addr, error) { return l.NextHop(ctx, f.node) }).Should(Equal(lab.Master2))
				ended := time.Now()
				Eventually(ctx, func(ctx context.Context) (netip.Addr, error) { return l.NextHop(ctx, f.node) }).
					WithTimeout(back).WithPolling(50 * time.Millisecond).Should(Equal(lab.Master1))
				AddReportEntry("back after", time.Since(ended), ReportEntryVisibilityFailureOrVerbose)
				Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
			}
			for _, s := range standing {
				_, err := s.Ask(ctx)
				Expect(err).NotTo(HaveOccurred())
			}
			Expect(l.Node("master1").Process("weir").PID()).To(Equal(weir), "weir lives")
			expectUndisturbed(ctx, l, "master1", before, f.peer)
			after, err := sessions(ctx, l, "master1")
			Expect(err).NotTo(HaveOccurred())
			Expect(after[f.peer]).To(BeTemporally(">", before[f.peer]), "control: that session is another")
			l.ExpectConverged(ctx, lab.Master1)
		})
	}

	Describe("with a peer that misbehaves", func() {
		It("end, or lose a route: weir and all others go on", func(ctx SpecContext) {
			weir := l.Node("master1").Process("weir").PID()
			before, err := sessions(ctx, l, "master1")
			Expect(err).NotTo(HaveOccurred())
			verdicts := make([]string, len(messages))
			var all sync.WaitGroup
			for i, m := range messages {
				all.Go(func() {
					defer GinkgoRecover()
					verdicts[i] = attack(ctx, l, i, m.bytes)
				})
			}
			all.Wait()
			for i, m := range messages {
				Expect(verdicts[i]).To(Equal(m.expect), m.name)
			}
			Expect(l.Node("master1").Process("weir").PID()).To(Equal(weir), "weir lives")
			expectUndisturbed(ctx, l, "master1", before)
			rib(ctx, l).ShouldNot(HaveKey(strangerPrefix))
			Expect(l.Ask(ctx, 5*time.Second, lab.Services...)).To(BeEmpty())
		})
		It("control: what is well formed is taken, until its session ends", func(ctx SpecContext) {
			i := len(messages)
			p, err := dial(ctx, l.Node("stranger"), strangerAddress(i), lab.Master1)
			Expect(err).NotTo(HaveOccurred())
			defer p.conn.Close()
			Expect(p.send(wellFormed(strangerAddress(i), strangerPrefix))).To(Succeed())
			rib(ctx, l).Should(HaveKey(strangerPrefix))
			Expect(p.send(messages[0].bytes)).To(Succeed())
			rib(ctx, l).ShouldNot(HaveKey(strangerPrefix))
		})
	})
})

// openBoth opens a flow to each worker.
func openBoth(ctx context.Context, l *lab.Lab) []*probe.Session {
	GinkgoHelper()
	var all []*probe.Session
	for _, s := range []lab.Service{lab.SCTP, lab.UDP} {
		one, err := l.Requests.Open(ctx, s.Request())
		Expect(err).NotTo(HaveOccurred())
		_, err = one.Ask(ctx)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(one.Close)
		all = append(all, one)
	}
	return all
}

// reconfigure has BIRD use another password.
func reconfigure(ctx context.Context, l *lab.Lab, from, to string) {
	GinkgoHelper()
	file := filepath.Join(l.Node("client").Dir(), "bird.conf")
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(file, []byte(strings.ReplaceAll(string(text), from, to)), 0o600)).To(Succeed())
	birdc(ctx, l, "configure")
}

func birdc(ctx context.Context, l *lab.Lab, command ...string) {
	GinkgoHelper()
	n := l.Node("client")
	_, err := n.Run(ctx, "birdc", append([]string{"-s", filepath.Join(n.Dir(), "bird.ctl")}, command...)...)
	Expect(err).NotTo(HaveOccurred())
}

// up are the sessions of master2.
func up(ctx context.Context, l *lab.Lab) AsyncAssertion {
	return harness.Soon(ctx, func(ctx context.Context) (any, error) { return sessions(ctx, l, "master2") })
}

// expectMismatch expects the node to say that the client has another password.
func expectMismatch(ctx context.Context, l *lab.Lab, node string) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) ([]v1.Condition, error) { return conditions(ctx, l, node) }).Should(ContainElement(And(
		HaveField("Type", v1.ConditionEstablished), HaveField("Status", false), HaveField("Reason", "PasswordMismatch"),
		HaveField("Message", And(ContainSubstring("192.168.80.1:"), ContainSubstring("wrong MD5 signature"), Not(ContainSubstring(password)))),
	)))
}

func conditions(ctx context.Context, l *lab.Lab, node string) ([]v1.Condition, error) {
	o, err := l.Weir(node).Observed(ctx)
	if err != nil || o.BGP == nil {
		return nil, err
	}
	return o.BGP.Conditions, nil
}

// expectSilent expects no password in a process's command line and log.
func expectSilent(l *lab.Lab, node, process string) {
	GinkgoHelper()
	p := l.Node(node).Process(process)
	for _, file := range []string{p.Log(), filepath.Join("/proc", strconv.Itoa(p.PID()), "cmdline")} {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(text)).To(And(Not(BeEmpty()), Not(ContainSubstring(password))), file)
	}
}
