package restart

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/topo/node"
)

// seedVariable makes a run have the moments of an earlier one.
const seedVariable = "WEIR_RESTART_SEED"

// moments are when weir ends: any, from its first instruction on.
type moments struct {
	*rand.Rand

	// kills counts those that were no wish; moved of them would have met a
	// session on its way up, see kill.
	kills, moved int
	// confirmed is when the peers were last seen to have their routes from a run.
	confirmed time.Time
}

// movedAtMost bounds how many kills of a spec may be moved out of the begin of a
// session, for what is moved is not at random any more: one of ten, and one. That
// begin lasts some milliseconds of the tenths of a second that a run does.
func (m *moments) movedAtMost() int { return 1 + m.kills/10 }

func randomMoments() *moments {
	GinkgoHelper()
	seed := uint64(GinkgoRandomSeed())
	if given := os.Getenv(seedVariable); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		Expect(err).NotTo(HaveOccurred(), "read %s", seedVariable)
	}
	AddReportEntry("seed", seedVariable+"="+strconv.FormatUint(seed, 10), ReportEntryVisibilityFailureOrVerbose)
	m := &moments{Rand: rand.New(rand.NewPCG(seed, seed)), confirmed: time.Now()}
	DeferCleanup(func() {
		AddReportEntry("kills moved out of the begin of a session", m.moved, ReportEntryVisibilityFailureOrVerbose)
		Expect(m.moved).To(BeNumerically("<=", m.movedAtMost()), "kills moved out of the begin of a session, of %d", m.kills)
	})
	return m
}

// unconfirmed bounds a series of restarts: peers keep routes for the restart time,
// 30 s, and a busy machine gets no session up between two restarts that are near.
const unconfirmed = 15 * time.Second

// crashes are the signals that Go prints where it stands on, and dies.
var crashes = map[int]unix.Signal{5: unix.SIGABRT, 13: unix.SIGSEGV}

// ending is how the i-th restart of a series begins: every second by SIGKILL,
// two by a crash, the others by asking.
func ending(i int) unix.Signal {
	if i%2 == 0 {
		return unix.SIGKILL
	}
	if crash, ok := crashes[i]; ok {
		return crash
	}
	return unix.SIGTERM
}

// restarts ends master1's weir so many times, each as ending says, and waits
// until its peers know their routes from the last run.
func (m *moments) restarts(ctx context.Context, l *lab.Lab, times int, after func(*rand.Rand) time.Duration) {
	GinkgoHelper()
	for i := range times {
		m.restart(ctx, l, "master1", ending(i), after)
		m.confirm(ctx, l)
	}
	expectConfirmed(ctx, l)
	m.confirmed = time.Now()
}

// confirm waits for what the peers know where the last time is long ago.
func (m *moments) confirm(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	if time.Since(m.confirmed) > unconfirmed {
		expectConfirmed(ctx, l)
		m.confirmed = time.Now()
	}
}

// restart ends the node's weir by a signal after a random time, and launches it
// again, without waiting until it is ready.
func (m *moments) restart(ctx context.Context, l *lab.Lab, name string, how unix.Signal, after func(*rand.Rand) time.Duration) {
	GinkgoHelper()
	select {
	case <-ctx.Done():
		Fail(ctx.Err().Error())
	case <-time.After(after(m.Rand)):
	}
	weir := l.Node(name).Process("weir")
	if how == unix.SIGTERM {
		expectToEnd(ctx, weir)
	} else {
		m.kill(ctx, l, name, how)
	}
	Expect(weir.Launch()).To(Succeed())
}

// expectToEnd has the process end at SIGTERM, by itself: Stop would kill one that does not.
func expectToEnd(ctx context.Context, p *node.Process) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, node.StopTimeout)
	defer cancel()
	Expect(p.Signal(unix.SIGTERM)).To(Succeed())
	Expect(p.Wait(ctx)).To(Succeed(), "it was sent SIGTERM %s ago", node.StopTimeout)
}

// upTo is any time below most.
func upTo(most time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(most))) }
}

// kill ends weir where it stands, by SIGKILL or a crash. Where that is the begin
// of a session it goes on for a moment: no implementation can keep the routes
// then (docs/adr/0007).
func (m *moments) kill(ctx context.Context, l *lab.Lab, name string, how unix.Signal) {
	GinkgoHelper()
	m.kills++
	weir := l.Node(name).Process("weir")
	Expect(weir.Signal(unix.SIGSTOP)).To(Succeed())
	for moved := false; ; moved = true {
		begin := beginning(ctx, l, name)
		if begin == "" {
			break
		}
		if !moved {
			m.moved++
		}
		GinkgoWriter.Println("a kill would meet", begin)
		Expect(weir.Signal(unix.SIGCONT)).To(Succeed())
		yield()
		Expect(weir.Signal(unix.SIGSTOP)).To(Succeed())
	}
	said, err := os.ReadFile(weir.Log())
	Expect(err).NotTo(HaveOccurred())
	Expect(weir.Signal(how)).To(Succeed())
	Expect(weir.Signal(unix.SIGCONT)).To(Succeed()) // SIGKILL does not wait for it
	Expect(weir.Wait(ctx)).To(Succeed())
	if how != unix.SIGKILL {
		all, err := os.ReadFile(weir.Log())
		Expect(err).NotTo(HaveOccurred())
		Expect(string(all[len(said):])).To(ContainSubstring(unix.SignalName(how)+": "), "it crashed")
	}
}

// beginning names a session of the node whose peer has it half open, or has it
// and waits for the first route; "" for none.
func beginning(ctx context.Context, l *lab.Lab, name string) string {
	GinkgoHelper()
	if name != "master1" {
		return "" // announces nothing
	}
	if out := birdSession(ctx, l); strings.Contains(out, "Established") && strings.Contains(out, "graceful restart active") {
		return "the client's session, up and without a route"
	}
	for _, w := range lab.Workers {
		status, err := l.Weir(w).BGP(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, p := range status.Peers {
			if p.Address == lab.Master1 && p.State == "openconfirm" {
				return "the session of " + w + ", half open"
			}
		}
	}
	return ""
}

// birdSession is what the client's BIRD says of its session with master1.
func birdSession(ctx context.Context, l *lab.Lab) string {
	GinkgoHelper()
	n := l.Node("client")
	out, err := n.Run(ctx, "birdc", "-s", filepath.Join(n.Dir(), "bird.ctl"), "show", "protocols", "all", "master1")
	Expect(err).NotTo(HaveOccurred())
	return out
}

// yield lets a session get on.
func yield() { <-time.After(5 * time.Millisecond) }
