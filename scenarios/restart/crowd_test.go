package restart

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/packet"
)

const (
	// beforeRetry is below the first retransmission of a SYN, 1 s (RFC 6298): a
	// request that lost its first packet fails. The SCTP of the probe is a process,
	// which so many associations hold up for longer on a busy machine.
	beforeRetry = 900 * time.Millisecond
	// crowd is how many requests there are at the same time.
	crowd = 48
	// byTimer is Linux's shortest time-out, TCP_RTO_MIN: what is sent again before
	// was not lost. Towards the pod a connection may get the port of one that has
	// just ended; in TIME_WAIT the pod answers its SYN with an ACK, and the client
	// tries again after two ticks (seen: SYN, ACK, RST, 10 ms later SYN, SYN ACK).
	byTimer = 200 * time.Millisecond
)

// crowded is what became of new connections of all services.
type crowded struct {
	requests int
	wrong    []string
	// syns counts those of TCP, again has those of them that were sent again.
	syns  int
	again []string
}

// newConnections opens connections, many at a time, until done says so, and at
// least so many.
func newConnections(ctx context.Context, l *lab.Lab, least int, done func() bool) crowded {
	GinkgoHelper()
	forgetRTT(ctx, l)
	pods := map[netip.AddrPort][]string{}
	for _, s := range lab.Services {
		pods[s.Frontend] = l.Pods(s)
	}
	syns := l.Headers("client:eth1", firstSegment)
	var c crowded
	for ctx.Err() == nil && (!done() || c.requests < least) {
		r := l.Requests.Burst(ctx, 3*crowd, crowd, func(i int) probe.Request {
			r := lab.Services[i%len(lab.Services)].Request()
			r.Timeout = beforeRetry
			if r.Protocol == probe.SCTP {
				r.Timeout = patience
			}
			return r
		})
		c.requests += r.Requests
		if r.Lost() > 0 {
			c.wrong = append(c.wrong, r.String())
		}
		for _, a := range r.Answers {
			if !slices.Contains(pods[a.Remote], a.Backend) || a.SeenClient.Addr() != lab.VIP {
				c.wrong = append(c.wrong, fmt.Sprintf("%s of %s saw %s", a.Backend, a.Remote, a.SeenClient))
			}
		}
	}
	Expect(syns.Stop()).To(Succeed())
	c.syns, c.again = len(syns.Frames()), sentAgain(syns.Frames())
	return c
}

// forgetRTT has the client's kernel send a SYN again after 1 s: where it remembers
// the round trips of earlier connections, it does after 200 ms, which a busy
// machine needs now and then.
func forgetRTT(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	for _, command := range []string{"sysctl -q -w net/ipv4/tcp_no_metrics_save=1", "ip tcp_metrics flush all"} {
		words := strings.Fields(command)
		_, err := l.Node("client").Run(ctx, words[0], words[1:]...)
		Expect(err).NotTo(HaveOccurred())
	}
}

// firstSegment chooses the SYNs of the service over TCP.
var firstSegment = capture.Where(func(p packet.Packet) bool {
	return p.Dst == lab.Nginx.Frontend && p.Flags == "SYN"
})

// sentAgain lists the SYNs that were sent before, and that the timer sent again.
func sentAgain(syns []capture.Frame) (again []string) {
	type begin struct {
		from netip.AddrPort
		seq  uint32
	}
	seen := map[begin]time.Time{}
	for _, f := range syns {
		p, err := f.Packet()
		if err != nil {
			continue // not what the filter took
		}
		at := begin{p.Src, p.Seq}
		if before, sent := seen[at]; sent && f.Time.Sub(before) >= byTimer {
			again = append(again, fmt.Sprintf("%s, after %s", p.Src, f.Time.Sub(before)))
		}
		seen[at] = f.Time
	}
	return again
}

// expectLossSeen takes the answers away from the client's kernel, and sees that
// newConnections would tell.
func expectLossSeen(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	client := l.Node("client")
	answers := []string{"INPUT", "-s", lab.VIP.String(), "-j", "DROP"}
	_, err := client.Run(ctx, "iptables", append([]string{"-w", "-I"}, answers...)...)
	Expect(err).NotTo(HaveOccurred())
	syns := l.Headers("client:eth1", firstSegment)
	r := lab.Nginx.Request()
	r.Timeout = beforeRetry + time.Second
	_, err = l.Requests.Do(ctx, r)
	Expect(probe.Reason(err)).To(Equal("timeout"))
	Expect(sentAgain(syns.Frames())).NotTo(BeEmpty())
	_, err = client.Run(ctx, "iptables", append([]string{"-w", "-D"}, answers...)...)
	Expect(err).NotTo(HaveOccurred())
}
