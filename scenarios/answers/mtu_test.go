package answers

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe"
)

// bottleneck is the one narrow place of a way.
type bottleneck struct {
	name         string
	node, device string // the end that sends into it
	client       string
	backend      netip.Addr
	download     bool       // full packets go from the backend to the client
	by           netip.Addr // who tells the client that a datagram is too long
}

var bottlenecks = []bottleneck{
	{"behind a router on the backend's side", "inner", "eth2", "client", backend3, false, onelb.VIP},
	{"on weir's own link to the backend", "lb", "eth2", "client", onelb.Backend1, false, onelb.TowardsClient},
	{"behind a router on the client's side", "outer", "eth2", "far", onelb.Backend1, true, netip.Addr{}},
	{"on weir's own link to the client", "lb", "eth4", "far", onelb.Backend1, true, netip.Addr{}},
}

var _ = Describe("Path-MTU discovery", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.UpPage(ctx, "routers.yaml", harness.Options{Hook: hook})
			})
			for _, b := range bottlenecks {
				It("works with the narrow link "+b.name, func(ctx SpecContext) {
					lab.Program(ctx, "lb", onelb.Services(b.backend)...)
					setMTU(lab, b.node, b.device, narrow)
					DeferCleanup(func(ctx SpecContext) { widen(ctx, lab, b) })
					if !b.download {
						b.expectTooLong(ctx, lab)
					}
					for _, m := range onelb.Modes {
						b.expectBulk(ctx, lab, m)
					}
					expectBalance(ctx, lab)
				})
			}
		})
	}
})

// expectTooLong sees what a program gets whose datagrams must not be cut.
func (b bottleneck) expectTooLong(ctx context.Context, lab *onelb.Lab) {
	GinkgoHelper()
	s, err := dial(lab, b.client, onelb.Frontend(v1.ModeFullNAT, v1.UDP), 0)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = s.close() }()
	harness.Step("a datagram as long as the link is served", func() {
		Expect(s.send(narrow - 28)).To(Succeed())
		_, err := s.wait(ctx, 200*time.Millisecond)
		Expect(err).To(MatchError(errSilence))
	})
	harness.Step("of one byte more the client is told the MTU, and the kernel remembers", func() {
		// The MTU reaches weir with the kernel's event.
		harness.Soon(ctx, func(ctx context.Context) (told, error) {
			if err := s.send(narrow - 28 + 1); err != nil {
				return told{}, err
			}
			return s.wait(ctx, time.Second)
		}).Should(Equal(told{Errno: unix.EMSGSIZE, Type: 3, Code: 4, MTU: narrow, By: b.by}))
		Expect(s.send(narrow - 28 + 1)).To(MatchError(unix.EMSGSIZE))
	})
}

// expectBulk moves bytes in packets of full length.
func (b bottleneck) expectBulk(ctx context.Context, lab *onelb.Lab, m v1.Mode) {
	GinkgoHelper()
	requests := &probe.Client{Enter: lab.Node(b.client).Do}
	move := requests.Upload
	if b.download {
		move = requests.Download
	}
	harness.Step(string(m)+": a bulk transfer is complete", func() {
		ctx, cancel := context.WithTimeout(ctx, harness.Patience)
		defer cancel()
		t, err := move(ctx, onelb.Request(m, v1.TCP), bulk)
		Expect(err).NotTo(HaveOccurred())
		Expect(t.Bytes).To(BeEquivalentTo(bulk))
	})
}

// widen makes the link as it was, and hosts forget what they have learned of it.
func widen(ctx context.Context, lab *onelb.Lab, b bottleneck) {
	GinkgoHelper()
	setMTU(lab, b.node, b.device, wide)
	for _, host := range []string{"client", "far", "backend1", "backend3"} {
		_, err := lab.Node(host).Run(ctx, "ip", "route", "flush", "cache")
		Expect(err).NotTo(HaveOccurred())
	}
}
