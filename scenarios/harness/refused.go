package harness

import (
	"context"
	"syscall"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// atOnce is a round trip, and what a busy machine needs for it. A TCP client
// that got no answer would try again after a second.
const atOnce = 800 * time.Millisecond

// refusals are what a client's socket says of RST, ICMP port unreachable and
// ABORT.
var refusals = map[probe.Protocol]error{
	probe.TCP: syscall.ECONNREFUSED, probe.HTTP: syscall.ECONNREFUSED,
	probe.UDP: syscall.ECONNREFUSED, probe.SCTP: rawsctp.ErrAborted,
}

// ExpectRefused expects that a request is refused at once, in its protocol's
// way: neither served nor left without an answer.
func ExpectRefused(ctx context.Context, c *probe.Client, r probe.Request) {
	ginkgo.GinkgoHelper()
	start := time.Now()
	_, err := c.Do(ctx, r)
	gomega.Expect(err).To(gomega.MatchError(refusals[r.Protocol]), "%s %s", r.Protocol, r.Target)
	gomega.Expect(time.Since(start)).To(gomega.BeNumerically("<", atOnce), "%s %s", r.Protocol, r.Target)
}
