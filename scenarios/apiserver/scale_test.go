package apiserver

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
)

// What a controller may take from its start until all is programmed, what one
// changed endpoint may take from its write to be what clients of both nodes meet,
// the slowest of 100, and what memory a controller may ever have had
// (docs/performance.md has what they take).
const (
	coldBound   = 10 * time.Second
	changeBound = 500 * time.Millisecond
	memoryBound = 200 << 20
	// An event comes after what it tells of, at the controller's 200 requests a second.
	toldBound = time.Minute
)

const (
	endpointsEach = 10
	manyServices  = 10_000
	manyChanges   = 10
	changes       = 100
	// rounds of changes, of which one within the bound will do: the machine may not
	// be ours alone.
	rounds  = 3
	writers = 8 // requests to the apiserver at once
)

// Alone: how long a change takes is what the machine has left for it.
var _ = Describe("A cluster of many services", Ordered, Label("alone"), func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) {
		l = up(ctx)
		// Nothing but the route says that the addresses are pod1's.
		_, err := l.Node("pod1").Run(ctx, "ip", "route", "add", "local", crowded.String(), "dev", "lo")
		Expect(err).NotTo(HaveOccurred())
	})

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
			l.remove("flip")
			l.apply(ctx, flipping.manifest())
			var took []time.Duration
			for range rounds {
				took = l.flip(ctx, changes, func(pod string) { l.apply(ctx, flipping.on(pod)) })
				if slowest(took) < changeBound {
					break
				}
			}
			l.expectTold(ctx, size)
			memory := peak(l.process("ctl1").PID())
			AddReportEntry("scale", fmt.Sprintf("%d services: cold %s, a change p50 %s, the slowest of %d %s, %d MB",
				size, cold.Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), changes, slowest(took).Round(time.Millisecond), memory>>20))
			Expect(l.logOf("ctl1")[logged:]).NotTo(ContainSubstring("level=ERROR"))
			Expect(cold).To(BeNumerically("<", coldBound))
			Expect(slowest(took)).To(BeNumerically("<", changeBound))
			Expect(memory).To(BeNumerically("<", memoryBound))
		}, NodeTimeout(4*time.Minute))
	}

	// Of what a controller does, this leaves out what grows with an apiserver: nodes
	// are told what it would tell them (BenchmarkDecide has what a decision takes).
	It(fmt.Sprintf("is programmed, and followed, with %d services of %d endpoints, and no apiserver", manyServices, endpointsEach), func(ctx SpecContext) {
		Expect(l.process("ctl1").Stop(ctx)).To(Succeed())
		state := v1.NodeState{Generation: v1.Generation{Epoch: 1}}
		for i := range manyServices {
			state.Services = append(state.Services, told(1000+i, addressesOf(i)))
		}
		began := time.Now()
		l.eachLB(ctx, func(ctx context.Context, c *client.Client) error {
			_, err := c.PutState(ctx, manyOwner, state)
			return err
		})
		Eventually(ctx, func(ctx context.Context) error { return l.programmed(ctx, manyServices) }).
			WithTimeout(time.Minute).WithPolling(500 * time.Millisecond).Should(Succeed())
		cold := time.Since(began)
		last := state.Generation
		took := l.flip(ctx, manyChanges, func(pod string) {
			change := v1.NodeChange{Base: last, Generation: last, Upsert: []v1.Service{told(flipping.port, []string{podAddresses[pod]})}}
			change.Generation.Sequence++
			l.eachLB(ctx, func(ctx context.Context, c *client.Client) error {
				_, err := c.PatchState(ctx, manyOwner, change)
				return err
			})
			last = change.Generation
		})
		AddReportEntry("scale", fmt.Sprintf("%d services, no apiserver: cold %s, a change p50 %s, the slowest of %d %s, %d MB of a node", manyServices,
			cold.Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), manyChanges, slowest(took).Round(time.Millisecond), peak(l.Node("lb1").Process("weir").PID())>>20))
	}, NodeTimeout(4*time.Minute))
})

// manyOwner is whose services nodes have that no controller tells them.
const manyOwner = "scale"

// told is a service as a controller tells it to nodes.
func told(port int, pods []string) v1.Service {
	s := v1.Service{
		Name:     fmt.Sprintf("default/crowd-%d", port),
		Frontend: v1.Frontend{VIP: netip.MustParseAddr("203.0.113.1"), Port: uint16(port), Protocol: v1.TCP},
		Mode:     v1.ModeOneArm, Algorithm: v1.RoundRobin,
	}
	for _, pod := range pods {
		s.Backends = append(s.Backends, v1.Backend{Address: netip.MustParseAddr(pod), Port: 8080})
	}
	return s
}

// eachLB asks both LB nodes at once.
func (l *lab) eachLB(ctx context.Context, ask func(context.Context, *client.Client) error) {
	GinkgoHelper()
	nodes := []*client.Client{l.Weir("lb1"), l.Weir("lb2")}
	each(ctx, len(nodes), func(ctx context.Context, i int) error { return ask(ctx, nodes[i]) })
}

// member is a service of the crowd: all share the pool's first address.
func member(i int) web {
	return ours(fmt.Sprintf("crowd-%d", i), 1000+i).noted(`"loxilb.io/staticIP": 203.0.113.1`)
}

// crowded is where the endpoints of the crowd are, 64 addresses of pod1.
var crowded = netip.MustParsePrefix("198.51.100.128/26")

// members are a service's endpoints, all of which answer.
func (w web) members(i int) string {
	var endpoints []string
	for _, a := range addressesOf(i) {
		endpoints = append(endpoints, a+"@pod1")
	}
	return slice("default", w.name, 8080, endpoints...)
}

func addressesOf(i int) (out []string) {
	for k := range endpointsEach {
		out = append(out, fmt.Sprintf("198.51.100.%d", 128+(i+k)%64))
	}
	return out
}

func (l *lab) applyCrowd(ctx context.Context, size int) {
	GinkgoHelper()
	each(ctx, size, func(ctx context.Context, i int) error {
		return l.kube.apply(ctx, member(i).manifest(), member(i).members(i))
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
			// A backend that is active is in the slots of its service.
			active := func(b v1.BackendStatus) bool { return b.State == v1.BackendActive }
			if s.Programmed && len(slices.DeleteFunc(s.BackendStates, func(b v1.BackendStatus) bool { return !active(b) })) == endpointsEach {
				have++
			}
		}
		if have != size || len(services) != size {
			return fmt.Errorf("%s has %d services, %d of them programmed, not %d", lb, len(services), have, size)
		}
	}
	return nil
}

// flipping is a service with one endpoint.
var flipping = ours("flip", 999).noted(`"loxilb.io/staticIP": 203.0.113.1`)

// flip has the endpoint of flipping change again and again, and returns, sorted,
// how long after on began to change it clients of both nodes met it.
func (l *lab) flip(ctx context.Context, times int, on func(pod string)) []time.Duration {
	GinkgoHelper()
	on("pod1")
	harness.Soon(ctx, func(ctx context.Context) (string, error) { return l.answers(ctx, "203.0.113.1:999") }).Should(Equal("pod1"))
	var took []time.Duration
	for i := range times {
		pod := []string{"pod2", "pod1"}[i%2]
		began := time.Now()
		on(pod)
		for _, lb := range []string{"lb1", "lb2"} { // the one that is asked last may have it long since
			Eventually(ctx, func(ctx context.Context) (string, error) { return l.answersBy(ctx, lb, "203.0.113.1:999") }).
				WithTimeout(10*time.Second).WithPolling(5*time.Millisecond).Should(Equal(pod), lb)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// slowest is the last of what flip returns.
func slowest(took []time.Duration) time.Duration { return took[len(took)-1] }

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

// peak is the most memory that a process has had, in bytes.
func peak(pid int) int {
	GinkgoHelper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	Expect(err).NotTo(HaveOccurred())
	kilobytes, err := strconv.Atoi(peakOf.FindStringSubmatch(string(status))[1])
	Expect(err).NotTo(HaveOccurred())
	return kilobytes << 10
}
