// Package harness is what the scenarios share: a topology that goes away with
// its spec, steps, waits with a deadline, captures, weir's state by its API, and
// the one-screen report of a failure (docs/testing.md shows one).
//
//	func TestNAT(t *testing.T) { harness.Run(t, "NAT") }
//
//	var _ = Describe("full NAT", Ordered, func() {
//		var lab *harness.Scenario
//		BeforeAll(func(ctx SpecContext) {
//			lab = harness.Up(ctx, "one-lb", harness.Options{Hook: "tc"})
//			lab.Program(ctx, "lb", service)
//		})
//		It("answers", func(ctx SpecContext) {
//			harness.Step("the client asks", func() { ... })
//		})
//	})
//
// Environment: WEIR_BIN is the folder of weir's programs (default: bin/ of the
// repository), WEIR_ARTIFACTS the folder for what a failure leaves (default: a
// temporary one), WEIR_KEEP=1 leaves the topology of a failed spec standing.
//
// A suite is one process that runs one spec at a time; the package keeps the
// present spec's steps and topologies and is not safe for concurrent use.
package harness
