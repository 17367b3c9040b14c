package flood

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// forged are the addresses that SYNs of the flood come from. No host has them.
// The backend's own firewall drops those of silenced, where it sees whose they are,
// and its kernel answers the others: by SYN cookies, as its backlog is full at once.
var (
	forged   = netip.MustParsePrefix("198.18.0.0/15")
	silenced = []string{"198.19.0.0/16", "198.18.128.0/17"}
)

const (
	forgedBits = 17    // of a forged address that differ
	firstPort  = 10000 // of the flood
	// stride is odd, so multiples of it pass every forged address once before any
	// comes again, in an order that mixes answered and silenced ones.
	stride = 40503
	// drain is how long a full queue is given.
	drain = 200 * time.Microsecond
)

// source is the i-th of the flood: no two are the same.
func source(i int) netip.AddrPort {
	base := forged.Addr().As4()
	offset := uint32(i*stride) % (1 << forgedBits)
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])|offset)
	return netip.AddrPortFrom(netip.AddrFrom4(base), uint16(firstPort+i>>forgedBits))
}

// syns sends SYNs of the flood to a frontend, from backend2's end of its link, whose
// services have no part in it. On the client's own link the flood would fill the queue
// before weir, and take the last ACK of some handshakes there: a server that has sent a
// SYN cookie knows nothing of such a connection, and the client waits for its greeting.
type syns struct {
	wire     *capture.Injector
	template []byte
	sent     int
}

// newSYNs readies the page for a flood: answers to forged addresses find the way
// to backend2, which drops them.
func newSYNs(ctx context.Context, l *onelb.Lab, frontend netip.AddrPort) *syns {
	GinkgoHelper()
	_, err := l.Node("lb").Run(ctx, "ip", "route", "add", forged.String(), "via", onelb.Backend2.String())
	Expect(err).NotTo(HaveOccurred())
	_, err = l.Node("backend2").Run(ctx, "ip", "route", "add", "blackhole", forged.String())
	Expect(err).NotTo(HaveOccurred())
	for _, prefix := range silenced {
		_, err := l.Node("backend1").Run(ctx, "iptables", "-w", "-t", "raw", "-A", "PREROUTING", "-s", prefix, "-j", "DROP")
		Expect(err).NotTo(HaveOccurred())
	}
	// Each answer that comes again would keep a half-open flow for another 30 s.
	_, err = l.Node("backend1").Run(ctx, "sysctl", "-w", "net.ipv4.tcp_synack_retries=1")
	Expect(err).NotTo(HaveOccurred())
	template, err := packet.TCPFrame(packet.Header{
		SrcMAC: l.MAC("backend2:eth1"), DstMAC: l.MAC("lb:eth3"), Src: source(0), Dst: frontend,
	}, layers.TCP{SYN: true, Seq: 1, Window: 65535}, nil)
	Expect(err).NotTo(HaveOccurred())
	return &syns{wire: l.Inject("backend2:eth1"), template: template}
}

// send sends the next n SYNs, as fast as they are taken.
func (s *syns) send(ctx context.Context, n int) error {
	again := time.NewTicker(drain)
	defer again.Stop()
	for last := s.sent + n; s.sent < last; {
		frame, err := packet.Translate(s.template, packet.Translation{Src: source(s.sent)})
		if err != nil {
			return err
		}
		switch err := s.wire.Send(frame); {
		case err == nil:
			s.sent++
		case !errors.Is(err, unix.ENOBUFS): // the link's queue is full
			return err
		default:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-again.C:
			}
		}
	}
	return nil
}
