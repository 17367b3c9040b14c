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

	// moved counts those that would have met a session on its way up, see
	// outOfReach.
	moved int
}

func randomMoments() *moments {
	GinkgoHelper()
	seed := uint64(GinkgoRandomSeed())
	if given := os.Getenv(seedVariable); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		Expect(err).NotTo(HaveOccurred(), "read %s", seedVariable)
	}
	AddReportEntry("seed", seedVariable+"="+strconv.FormatUint(seed, 10), ReportEntryVisibilityFailureOrVerbose)
	m := &moments{Rand: rand.New(rand.NewPCG(seed, seed))}
	DeferCleanup(func() {
		AddReportEntry("kills moved out of the begin of a session", m.moved, ReportEntryVisibilityFailureOrVerbose)
	})
	return m
}

// unconfirmed bounds a series of restarts: peers keep routes for the restart time,
// 30 s, and a busy machine gets no session up between two restarts that are near.
const unconfirmed = 15 * time.Second

// restarts ends master1's weir so many times, every second time by SIGKILL, and
// waits until its peers know their routes from the last run.
func (m *moments) restarts(ctx context.Context, l *lab.Lab, times int, after func(*rand.Rand) time.Duration) {
	GinkgoHelper()
	confirmed := time.Now()
	for i := range times {
		m.restart(ctx, l, "master1", i%2 == 0, after)
		if time.Since(confirmed) > unconfirmed {
			expectConfirmed(ctx, l)
			confirmed = time.Now()
		}
	}
	expectConfirmed(ctx, l)
}

// restart ends the node's weir after a random time, killed or asked to, and
// launches it again, without waiting until it is ready.
func (m *moments) restart(ctx context.Context, l *lab.Lab, name string, kill bool, after func(*rand.Rand) time.Duration) {
	GinkgoHelper()
	select {
	case <-ctx.Done():
		Fail(ctx.Err().Error())
	case <-time.After(after(m.Rand)):
	}
	weir := l.Node(name).Process("weir")
	if kill {
		m.kill(ctx, l, name, weir)
	} else {
		Expect(weir.Stop(ctx)).To(Succeed())
	}
	Expect(weir.Launch()).To(Succeed())
}

// upTo is any time below most.
func upTo(most time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(most))) }
}

// kill ends weir where it stands. Where that is the begin of a session it goes
// on for a moment: no implementation can keep the routes then (docs/adr/0007).
func (m *moments) kill(ctx context.Context, l *lab.Lab, name string, weir *node.Process) {
	GinkgoHelper()
	Expect(weir.Signal(unix.SIGSTOP)).To(Succeed())
	for begin := beginning(ctx, l, name); begin != ""; begin = beginning(ctx, l, name) {
		m.moved++
		GinkgoWriter.Println("a kill would meet", begin)
		Expect(weir.Signal(unix.SIGCONT)).To(Succeed())
		yield()
		Expect(weir.Signal(unix.SIGSTOP)).To(Succeed())
	}
	Expect(weir.Kill(ctx)).To(Succeed())
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
