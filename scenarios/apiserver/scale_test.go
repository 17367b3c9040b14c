package apiserver

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/scenarios/harness"
)

// What a controller may take from its start until all is programmed, and what one
// changed endpoint may take to be what a client meets (docs/performance.md has what
// they take). Other suites run beside this one: times are bounded by thrice the
// targets, memory by the target.
const (
	coldBound   = 30 * time.Second
	changeBound = 1500 * time.Millisecond
	memoryBound = 200 << 20
	// An event comes after what it tells of, at the controller's 200 requests a second.
	toldBound = time.Minute
)

const (
	endpointsEach = 10
	changes       = 100
	writers       = 8 // requests to the apiserver at once
)

var _ = Describe("A cluster of many services", Ordered, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	for _, size := range []int{10, 100, 1000} {
		It(fmt.Sprintf("is programmed, and followed, with %d services of %d endpoints", size, endpointsEach), func(ctx SpecContext) {
			DeferCleanup(l.removeCrowd, size)
			Expect(l.process("ctl1").Stop(ctx)).To(Succeed())
			l.applyCrowd(ctx, size)
			logged := len(l.logOf("ctl1"))
			began := time.Now()
			Expect(l.process("ctl1").Start(ctx)).To(Succeed())
			Eventually(ctx, func(ctx context.Context) error { return l.programmed(ctx, size) }).
				WithTimeout(coldBound).WithPolling(100 * time.Millisecond).Should(Succeed())
			cold := time.Since(began)
			took := l.flip(ctx)
			memory := l.peak("ctl1")
			AddReportEntry("scale", fmt.Sprintf("%d services: cold %s, a change p50 %s p99 %s, %d MB",
				size, cold.Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), memory>>20))
			l.expectTold(ctx, size)
			Expect(l.logOf("ctl1")[logged:]).NotTo(ContainSubstring("level=ERROR"))
			Expect(took[len(took)*99/100]).To(BeNumerically("<", changeBound))
			Expect(memory).To(BeNumerically("<", memoryBound))
		}, NodeTimeout(4*time.Minute))
	}
})

// member is a service of the crowd: all share the pool's first address.
func member(i int) web {
	return ours(fmt.Sprintf("crowd-%d", i), 1000+i).noted(`"loxilb.io/staticIP": 203.0.113.1`)
}

// members are a service's endpoints: the named pod first, then others, of which
// nobody asks whether they are there.
func (w web) members(i int, pod string) string {
	endpoints := []string{podAddresses[pod] + "@" + pod}
	for k := 1; k < endpointsEach; k++ {
		endpoints = append(endpoints, fmt.Sprintf("198.51.100.%d@pod1", 100+(i+k)%100))
	}
	return slice("default", w.name, 8080, endpoints...)
}

func (l *lab) applyCrowd(ctx context.Context, size int) {
	GinkgoHelper()
	each(ctx, size, func(ctx context.Context, i int) error {
		return l.kube.apply(ctx, member(i).manifest(), member(i).members(i, "pod1"))
	})
}

func (l *lab) removeCrowd(ctx context.Context, size int) {
	GinkgoHelper()
	each(ctx, size, func(ctx context.Context, i int) error { return l.kube.delete(ctx, servicePath(member(i).name)) })
	for i := range size {
		l.expectGone(ctx, member(i).name)
	}
}

// each does something for 0 to size-1, some at once.
func each(ctx context.Context, size int, do func(context.Context, int) error) {
	GinkgoHelper()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range size {
		group.Go(func() error { return do(ctx, i) })
	}
	Expect(group.Wait()).To(Succeed())
}

// programmed is an error until both nodes have so many services in their maps.
func (l *lab) programmed(ctx context.Context, size int) error {
	for _, lb := range []string{"lb1", "lb2"} {
		services, err := l.Weir(lb).Services(ctx)
		if err != nil {
			return err
		}
		have := 0
		for _, s := range services {
			if s.Programmed && len(s.Backends) == endpointsEach {
				have++
			}
		}
		if have != size || len(services) != size {
			return fmt.Errorf("%s has %d services, %d of them programmed, not %d", lb, len(services), have, size)
		}
	}
	return nil
}

// flip lets a service of its own change its one endpoint again and again, and
// returns, sorted, how long after the apiserver took the change a client met it.
func (l *lab) flip(ctx context.Context) []time.Duration {
	GinkgoHelper()
	s := ours("flip", 999).noted(`"loxilb.io/staticIP": 203.0.113.1`)
	l.remove("flip")
	l.apply(ctx, s.manifest(), s.on("pod1"))
	met := func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.1:999") }
	harness.Soon(ctx, met).Should(Equal("pod1"))
	var took []time.Duration
	for i := range changes {
		pod := []string{"pod2", "pod1"}[i%2]
		l.apply(ctx, s.on(pod))
		began := time.Now()
		Eventually(ctx, met).WithTimeout(10 * time.Second).WithPolling(5 * time.Millisecond).Should(Equal(pod))
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// expectTold expects an event for each service of the crowd, however late.
func (l *lab) expectTold(ctx context.Context, size int) {
	GinkgoHelper()
	Eventually(ctx, func(ctx context.Context) (int, error) {
		var list struct {
			Items []struct{ InvolvedObject struct{ Name string } }
		}
		err := l.kube.get(ctx, "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=Service,reason=Assigned", &list)
		told := map[string]bool{}
		for _, e := range list.Items {
			told[e.InvolvedObject.Name] = true
		}
		missing := 0
		for i := range size {
			if !told[member(i).name] {
				missing++
			}
		}
		return missing, err
	}).WithTimeout(toldBound).WithPolling(500*time.Millisecond).Should(BeZero(), "services without an event")
}

// logOf is all that a controller has said since the lab is up.
func (l *lab) logOf(controller string) string {
	GinkgoHelper()
	log, err := os.ReadFile(l.process(controller).Log())
	Expect(err).NotTo(HaveOccurred())
	return string(log)
}

var peakOf = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that a controller has had, in bytes.
func (l *lab) peak(controller string) int {
	GinkgoHelper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.process(controller).PID()))
	Expect(err).NotTo(HaveOccurred())
	kilobytes, err := strconv.Atoi(peakOf.FindStringSubmatch(string(status))[1])
	Expect(err).NotTo(HaveOccurred())
	return kilobytes << 10
}
