package node

import (
	"context"
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	// standbyNodePort is where the pod of service standby is, over TCP.
	standbyNodePort = 30200
	// firstLocal begins the ports of sockets, as many as locals, then as many again.
	firstLocal, locals = 40000, 32
)

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
