package bulk

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
	"github.com/weir-lb/weir/topo/probe"
)

const (
	size    = 100 << 20 // bytes
	timeout = 60 * time.Second
	// packetSize is the longest frame that a link of MTU 1500 carries.
	packetSize = 1514
)

// transfers are the two directions.
var transfers = map[string]func(*probe.Client, context.Context, probe.Request, int64) (probe.Transfer, error){
	"up": (*probe.Client).Upload, "down": (*probe.Client).Download,
}

var _ = Describe("100 MB of TCP", func() {
	for _, hook := range onelb.Hooks {
		Describe("on "+hook, Ordered, ContinueOnFailure, Label(hook), func() {
			var lab *onelb.Lab
			BeforeAll(func(ctx SpecContext) {
				lab = onelb.Up(ctx, harness.Options{Hook: hook, Unrecorded: true})
			})
			for _, mode := range []v1.Mode{v1.ModeFullNAT, v1.ModeDefault} {
				for _, direction := range []string{"up", "down"} {
					It(fmt.Sprintf("arrive whole: %s, %s", mode, direction), func(ctx SpecContext) {
						lab.Program(ctx, "lb", onelb.Service(mode, v1.TCP, onelb.Server(onelb.Backend1, v1.TCP)))
						sender, receiver := ends(lab, direction)
						harness.Step("the bytes go "+direction, func() {
							t, err := transfer(ctx, lab, direction, mode)
							Expect(err).NotTo(HaveOccurred())
							Expect(t.Bytes).To(BeEquivalentTo(size))
							AddReportEntry("transfer", t.String(), ReportEntryVisibilityFailureOrVerbose)
						})
						harness.Step("they went as the hook lets the kernel send them", func() {
							Expect(sender.Stop()).To(Succeed())
							Expect(receiver.Stop()).To(Succeed())
							expectOffloads(hook, sender, receiver)
						})
					})
				}
			}
			It("control: without the service they do not arrive", func(ctx SpecContext) {
				lab.Program(ctx, "lb")
				for direction := range transfers {
					_, err := transfer(ctx, lab, direction, v1.ModeFullNAT)
					Expect(err).To(HaveOccurred())
				}
			})
		})
	}
})

func transfer(ctx context.Context, lab *onelb.Lab, direction string, m v1.Mode) (probe.Transfer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := onelb.Request(m, v1.TCP)
	r.Timeout = 2 * time.Second
	return transfers[direction](lab.Requests, ctx, r, size)
}

// ends captures the headers of long frames where they leave and where they
// arrive.
func ends(lab *onelb.Lab, direction string) (sender, receiver *capture.Capture) {
	GinkgoHelper()
	from, to := "client:eth1", "backend1:eth1"
	if direction == "down" {
		from, to = to, from
	}
	return lab.Headers(from, func(f capture.Frame) bool { return f.Outgoing && f.Length >= packetSize }),
		lab.Headers(to, func(f capture.Frame) bool { return !f.Outgoing && f.Length >= packetSize })
}

// expectOffloads holds the run to what it is to prove. At TC frames longer than
// the MTU, their checksums open, pass weir as they are; at XDP none is sent.
func expectOffloads(hook string, sender, receiver *capture.Capture) {
	GinkgoHelper()
	sent, arrived := merged(sender), merged(receiver)
	if hook == "tc" {
		Expect(sent).To(BeNumerically(">", 100), "merged frames with open checksums sent")
		Expect(arrived).To(BeNumerically(">", 100), "merged frames with open checksums arrived")
		return
	}
	Expect(sender.Frames()).NotTo(BeEmpty())
	Expect(sent).To(BeZero(), "merged frames with open checksums sent")
}

// merged counts the frames that are longer than a packet and whose checksum is
// open.
func merged(c *capture.Capture) int {
	n := 0
	for _, f := range c.Frames() {
		if f.Length > packetSize && f.Partial {
			n++
		}
	}
	return n
}
