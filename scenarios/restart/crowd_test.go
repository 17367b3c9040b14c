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
	// retried is when what opens a connection and was lost has been sent again: Linux
	// does after 1 s (RFC 6298), and so does the probe's SCTP.
	retried = 1900 * time.Millisecond
	// crowd is how many requests there are at the same time.
	crowd = 48
	// byTimer is Linux's shortest time-out, TCP_RTO_MIN: what is sent again before
	// was not lost. Towards the pod a connection may get the port of one that has
	// just ended; in TIME_WAIT the pod answers its SYN with an ACK, and the client
	// tries again after two ticks (seen: SYN, ACK, RST, 10 ms later SYN, SYN ACK).
	byTimer = 200 * time.Millisecond
)

// opening is what clients send again until they get its answer: RFC 9293, section
// 3.5, and RFC 9260, section 5.1.
var opening = map[string]string{"SYN": "SYN ACK", "INIT": "INIT ACK", "COOKIE ECHO": "COOKIE ACK"}

// crowded is what became of new connections of all services.
type crowded struct {
	requests int
	wrong    []string
	// opened counts what opens connections, by name; again has what of it was sent
	// again because nothing had come back.
	opened map[string]int
	again  []string
}

// newConnections opens connections, many at a time, until done says so, and at
// least so many. What the network loses of their first packets shows as sent again,
// and a datagram or an SCTP message as never answered. A shorter patience would tell
// no more, and take a machine that stands still for a second for a loss.
func newConnections(ctx context.Context, l *lab.Lab, least int, done func() bool) crowded {
	GinkgoHelper()
	forgetRTT(ctx, l)
	pods := map[netip.AddrPort][]string{}
	for _, s := range lab.Services {
		pods[s.Frontend] = l.Pods(s)
	}
	taken := l.Headers("client:eth1", handshakes)
	var c crowded
	for ctx.Err() == nil && (!done() || c.requests < least) {
		r := l.Requests.Burst(ctx, 3*crowd, crowd, func(i int) probe.Request {
			r := lab.Services[i%len(lab.Services)].Request()
			r.Timeout, r.SendOnce = patience, true
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
	Expect(taken.Stop()).To(Succeed())
	c.opened, c.again = unanswered(taken.Frames())
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

// handshakes chooses what opens connections to the VIP, and what answers that.
var handshakes = capture.Where(func(p packet.Packet) bool {
	opens, answers := handshake(p)
	return opens != "" || answers != ""
})

// handshake says what a packet to or from the VIP opens a connection by, or which
// such packet it answers.
func handshake(p packet.Packet) (opens, answers string) {
	name, _, _ := strings.Cut(p.Flags, ",")
	for open, answer := range opening {
		switch {
		case p.Dst.Addr() == lab.VIP && name == open:
			return open, ""
		case p.Src.Addr() == lab.VIP && name == answer:
			return "", open
		}
	}
	return "", ""
}

// unanswered counts what opened connections, and lists what of it the timer sent
// again before anything had come back.
func unanswered(frames []capture.Frame) (opened map[string]int, again []string) {
	type attempt struct {
		client netip.AddrPort
		kind   string
	}
	opened, waiting := map[string]int{}, map[attempt]time.Time{}
	for _, f := range frames {
		p, err := f.Packet()
		if err != nil {
			continue // not what the filter took
		}
		opens, answers := handshake(p)
		if answers != "" {
			delete(waiting, attempt{p.Dst, answers})
			continue
		}
		opened[opens]++
		at := attempt{p.Src, opens}
		if before, waits := waiting[at]; waits && f.Time.Sub(before) >= byTimer {
			again = append(again, fmt.Sprintf("%s of %s, after %s", opens, p.Src, f.Time.Sub(before)))
		}
		waiting[at] = f.Time
	}
	return opened, again
}

// expectLossSeen keeps everything from the pods, and sees that newConnections
// would tell of each protocol.
func expectLossSeen(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	rule := func(do string) {
		for _, s := range lab.Services {
			for _, pod := range l.Pods(s) {
				_, err := l.Node(pod).Run(ctx, "iptables", "-w", do, "INPUT", "-j", "DROP")
				Expect(err).NotTo(HaveOccurred())
			}
		}
	}
	taken := l.Headers("client:eth1", handshakes)
	rule("-I")
	r := l.Requests.Burst(ctx, len(lab.Services), len(lab.Services), func(i int) probe.Request {
		r := lab.Services[i].Request()
		r.Timeout, r.SendOnce = retried, true
		return r
	})
	rule("-D")
	Expect(r.Reasons()).To(Equal(map[string]int{"timeout": len(lab.Services)}), r.String())
	Expect(taken.Stop()).To(Succeed())
	_, again := unanswered(taken.Frames())
	Expect(again).To(ConsistOf(HavePrefix("SYN of "), HavePrefix("INIT of ")))
}
