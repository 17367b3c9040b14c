package nat

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// offloads says who completes checksums.
type offloads struct {
	name string
	// sender and output: whether the two ends, and weir's node, may leave
	// checksums to a device.
	sender, output bool
}

// A veth takes a checksum that was left to it for right, and hides a wrong one:
// only the last two let every receiver see the bytes.
var (
	on         = offloads{"offloads on", true, true}
	outputOff  = offloads{"offloads on at the senders, off at the output", true, false}
	off        = offloads{"offloads off", false, false}
	offloadsOf = map[string][]offloads{
		"tc": {on, outputOff, off},
		// Native XDP loses the mark of an unfinished checksum: senders have to
		// complete it themselves (docs/testing.md).
		"xdp": {off},
	}
)

var _ = Describe("A request over sockets", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.Up(ctx, harness.Options{Hook: hook})
				lab.Program(ctx, "lb", onelb.Services(onelb.Backend1)...)
			})
			for _, o := range offloadsOf[hook] {
				for _, mode := range onelb.Modes {
					for _, protocol := range onelb.Protocols {
						It(fmt.Sprintf("has exact bytes: %s, %s, %s", mode, protocol, o.name), func(ctx SpecContext) {
							o.set(lab)
							e := exchange(ctx, lab, mode, protocol)
							harness.Step("every packet arrives once, translated and nothing else", func() {
								harness.Soon(ctx, e.compare).Should(BeEmpty())
							})
							harness.Step("checksums were left open as the offloads say", func() {
								e.expectPartial(protocol != v1.SCTP && o.sender, protocol != v1.SCTP && o.output)
							})
						})
					}
				}
			}
			It("control: without the service the same look finds packets missing", func(ctx SpecContext) {
				lab.Program(ctx, "lb")
				c := captures(lab, v1.UDP)
				r := onelb.Request(v1.ModeFullNAT, v1.UDP)
				r.Timeout = 300 * time.Millisecond
				s, err := lab.Requests.Open(ctx, r)
				Expect(err).NotTo(HaveOccurred())
				a, err := s.Ask(ctx)
				Expect(err).To(HaveOccurred())
				c.Way = onelb.WayOf(v1.ModeFullNAT, v1.UDP, a.Local, onelb.Server(onelb.Backend1, v1.UDP))
				Expect(c.compare()).To(ContainSubstring("did not arrive"))
				Expect(s.Close(ctx)).To(Succeed())
			})
		})
	}
})

// set switches the offloads of the two ends and of weir's node.
func (o offloads) set(lab *onelb.Lab) {
	GinkgoHelper()
	for _, at := range []struct {
		node, iface string
		on          bool
	}{
		{"client", "eth1", o.sender}, {"backend1", "eth1", o.sender}, {"lb", "eth1", o.output}, {"lb", "eth2", o.output},
	} {
		Expect(lab.Node(at.node).Link(at.iface).SetOffload("tx", at.on)).To(Succeed())
	}
}

// observed is a flow and the four places where its packets were seen.
type observed struct {
	onelb.Way
	hook                                 string
	atClient, outside, inside, atBackend *capture.Capture
}

// captures looks at a protocol's packets from now on.
func captures(lab *onelb.Lab, p v1.Protocol) *observed {
	GinkgoHelper()
	only := capture.Where(func(k packet.Packet) bool { return uint8(k.Protocol) == p.Number() })
	return &observed{
		hook: lab.Hook, atClient: lab.Capture("client:eth1", only), atBackend: lab.Capture("backend1:eth1", only),
		outside: lab.Capture("lb:eth1", only), inside: lab.Capture("lb:eth2", only),
	}
}

// exchange sends one request and gets its answer.
func exchange(ctx context.Context, lab *onelb.Lab, m v1.Mode, p v1.Protocol) *observed {
	GinkgoHelper()
	o := captures(lab, p)
	harness.Step("the client asks and is answered", func() {
		a, err := lab.Requests.Do(ctx, onelb.Request(m, p))
		Expect(err).NotTo(HaveOccurred())
		o.Way = onelb.WayOf(m, p, a.Local, onelb.Server(onelb.Backend1, p))
		Expect(a).To(HaveField("Backend", "backend1"))
		Expect(a).To(HaveField("SeenClient", o.Source))
	})
	return o
}

// compare looks at both directions: from one end to the other, and on weir's
// node.
func (o *observed) compare() string {
	requests, answers := harness.Between(o.atClient.Frames(), o.Client, o.Frontend), harness.Between(o.atBackend.Frames(), o.Backend, o.Source)
	if diff := harness.CompareFrames(requests, harness.Between(o.atBackend.Frames(), o.Source, o.Backend), o.Forward()); diff != "" {
		return "from client to backend: " + diff
	}
	if diff := harness.CompareFrames(answers, harness.Between(o.atClient.Frames(), o.Frontend, o.Client), o.Reply()); diff != "" {
		return "from backend to client: " + diff
	}
	return o.compareAtLB(requests, answers)
}

// compareAtLB looks around the TC hook: before it a packet is what was sent,
// after it what will arrive. Native XDP takes packets before a capture sees
// them, so there one sees that it did take them.
func (o *observed) compareAtLB(requests, answers []capture.Frame) string {
	in, out := harness.Between(o.outside.Frames(), o.Client, o.Frontend), harness.Between(o.inside.Frames(), o.Source, o.Backend)
	if o.hook == "xdp" {
		if len(in)+len(out) > 0 {
			return fmt.Sprintf("native XDP left %d packets to the kernel", len(in)+len(out))
		}
		return ""
	}
	if diff := harness.CompareFrames(requests, in, packet.Translation{}); diff != "" {
		return "from client to lb: " + diff
	}
	if diff := harness.CompareFrames(requests, out, o.Forward()); diff != "" {
		return "from client, out of lb: " + diff
	}
	if diff := harness.CompareFrames(answers, harness.Between(o.inside.Frames(), o.Backend, o.Source), packet.Translation{}); diff != "" {
		return "from backend to lb: " + diff
	}
	if diff := harness.CompareFrames(answers, harness.Between(o.outside.Frames(), o.Frontend, o.Client), o.Reply()); diff != "" {
		return "from backend, out of lb: " + diff
	}
	return ""
}

// expectPartial holds the run to what its offloads were to test: whether the
// senders left checksums open, and whether they still were when they arrived.
func (o *observed) expectPartial(sent, arrived bool) {
	GinkgoHelper()
	Expect(harness.Between(o.atClient.Frames(), o.Client, o.Frontend)).To(HaveEach(HaveField("Partial", sent)))
	Expect(harness.Between(o.atBackend.Frames(), o.Backend, o.Source)).To(HaveEach(HaveField("Partial", sent)))
	Expect(harness.Between(o.atBackend.Frames(), o.Source, o.Backend)).To(HaveEach(HaveField("Partial", sent && arrived)))
	Expect(harness.Between(o.atClient.Frames(), o.Frontend, o.Client)).To(HaveEach(HaveField("Partial", sent && arrived)))
}
