package nat

import (
	"net/netip"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// The failure that docs/testing.md shows is made by WEIR_SHOW_FAILURE=1: the
// packet that should arrive has one hop left, and weir is that hop.
var _ = Describe("A client far away", func() {
	if os.Getenv("WEIR_SHOW_FAILURE") == "" {
		return
	}
	It("reaches the backend", func(ctx SpecContext) {
		lab := onelb.Up(ctx, harness.Options{Hook: "tc"})
		lab.Silence(ctx)
		wires := lab.Wire()
		way := onelb.WayOf(v1.ModeFullNAT, v1.UDP, netip.AddrPortFrom(onelb.SilentClient, 20000), onelb.SilentBackend)
		harness.Step("the service is programmed", func() {
			lab.Program(ctx, "lb", onelb.Service(v1.ModeFullNAT, v1.UDP, onelb.SilentBackend))
		})
		harness.Step("a datagram arrives", func() {
			header := wires.Header(way, false)
			header.TTL = 1
			frame, err := packet.UDPFrame(header, bytes(100))
			Expect(err).NotTo(HaveOccurred())
			_, err = wires.Try(ctx, time.Second, frame, false)
			Expect(err).NotTo(HaveOccurred(), "want %s -> %s", way.Source, way.Backend)
		})
	})
})
