package node

import (
	"context"
	"net/netip"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	// standbyNodePort is where the pod of service standby is, over TCP.
	standbyNodePort = 30200
	// locals ports of sockets, then as many again, are of the range of which the kernel
	// gives sockets any, from fromLocal on.
	fromLocal, locals = 40000, 32
)

// freeLocals begins ports that no socket of these nodes has: the kernel has given
// those of their BGP sessions any.
func freeLocals(ctx context.Context, l *lab, nodes ...string) uint16 {
	GinkgoHelper()
	taken := map[uint16]bool{}
	for _, node := range nodes {
		out, err := l.Node(node).Run(ctx, "ss", "-Htan")
		Expect(err).NotTo(HaveOccurred())
		for line := range strings.Lines(out) {
			local, err := netip.ParseAddrPort(strings.Fields(line)[3])
			if err == nil { // all but who listens at *
				taken[local.Port()] = true
			}
		}
	}
	Expect(taken).To(HaveKey(uint16(179)), "control: sockets are read")
	first := uint16(fromLocal)
	for port := first; port < first+2*locals; port++ {
		if taken[port] {
			first = port + 1
		}
	}
	return first
}

// expectUndisturbed has sockets of master1 speak with a backend to which it takes flows as
// itself, a client's and its own: all from the same ports, which the kernel gives to sockets.
func expectUndisturbed(ctx context.Context, l *lab) {
	GinkgoHelper()
	open := func(node string, from netip.Addr, to netip.AddrPort, first, n uint16) (all []*probe.Session) {
		for i := range n {
			r := onStandby.request(v1.TCP)
			r.Target, r.Source = to, netip.AddrPortFrom(from, first+i)
			s, err := l.requests[node].Open(ctx, r)
			Expect(err).NotTo(HaveOccurred(), "%s connects from %s", node, r.Source)
			DeferCleanup(s.Close)
			all = append(all, s)
		}
		return all
	}
	ask := func(sessions ...*probe.Session) {
		for _, s := range sessions {
			a, err := s.Ask(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(a.Backend).To(Equal("pod-" + onStandby.on))
			Expect(a.SeenClient.Addr()).To(Equal(master1))
		}
	}
	service, backend := netip.AddrPortFrom(vip, onStandby.port), netip.AddrPortFrom(master2, standbyNodePort)
	firstLocal := freeLocals(ctx, l, "master1", "client")
	var sessions []*probe.Session
	harness.Step("connections that there are go on when flows come", func() {
		sessions = open("master1", master1, backend, firstLocal, locals)
		sessions = append(sessions, open("client", client, service, firstLocal, 2*locals)...)
		sessions = append(sessions, open("master1", master1, service, firstLocal, 2*locals)...)
		ask(sessions...)
	})
	harness.Step("connections can be made beside flows that there are", func() {
		ask(append(sessions, open("master1", master1, backend, firstLocal+locals, locals)...)...)
	})
}
