package article

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// hop is a place on the way, and what a packet is there, as a translation of
// what its sender put on the wire.
type hop struct {
	at     string // node:interface
	out    bool   // leaves the node
	packet packet.Translation
}

func (h hop) String() string {
	if h.out {
		return h.at + " >"
	}
	return h.at + " <"
}

// end is the end of master1's cable at which one looks: its own, or the
// switch's, since native XDP takes packets before a capture on its node.
type end struct {
	at     string // node:interface
	facing bool   // what leaves here is what master1 gets
}

var (
	ownEnd    = end{"master1:eth1", false}
	switchEnd = end{"sw80:p2", true}
)

// request lists the hops of a client's packet: master1 rewrites both addresses,
// then kube-proxy's rules the destination, and both route.
func request(s lab.Service, master end, port uint16) []hop {
	vip := netip.AddrPortFrom(lab.VIP, port)
	balanced := packet.Translation{Src: vip, Dst: s.NodePort, TTLDown: 1}
	delivered := packet.Translation{Src: vip, Dst: s.PodPort, TTLDown: 2}
	return []hop{
		{"client:eth1", true, packet.Translation{}},
		{master.at, master.facing, packet.Translation{}},
		{master.at, !master.facing, balanced},
		{s.Worker + ":eth1", false, balanced},
		{s.Worker + ":cni0", true, delivered},
		{s.Pod + ":eth0", false, delivered},
	}
}

// answer lists the hops of a pod's packet back to the client.
func answer(s lab.Service, master end, client netip.AddrPort) []hop {
	vip := netip.AddrPortFrom(lab.VIP, client.Port())
	restored := packet.Translation{Src: s.NodePort, Dst: vip, TTLDown: 1}
	delivered := packet.Translation{Src: s.Frontend, Dst: client, TTLDown: 2}
	return []hop{
		{s.Pod + ":eth0", true, packet.Translation{}},
		{s.Worker + ":cni0", false, packet.Translation{}},
		{s.Worker + ":eth1", true, restored},
		{master.at, master.facing, restored},
		{master.at, !master.facing, delivered},
		{"client:eth1", false, delivered},
	}
}

// watched are the captures of the interfaces on a way.
type watched map[string]*capture.Capture

// watch captures a service's packets wherever the hops are.
func watch(l *lab.Lab, s lab.Service, hops []hop) watched {
	GinkgoHelper()
	protocol := map[string]packet.Protocol{"http": packet.TCP, "udp": packet.UDP, "sctp": packet.SCTP}[string(s.Protocol)]
	w := watched{}
	for _, h := range hops {
		if w[h.at] == nil {
			w[h.at] = l.Capture(h.at, capture.Where(func(p packet.Packet) bool { return p.Protocol == protocol }))
		}
	}
	return w
}

// compare follows every packet that left the first hop from src to dst, and
// says what is not as it should be: "" when each was seen on every hop in
// order, with exactly the right bytes.
func (w watched) compare(hops []hop, src, dst netip.AddrPort) string {
	sent := 0
	for _, f := range w[hops[0].at].Frames() {
		p, err := f.Packet()
		if err != nil || !f.Outgoing || p.Src != src || p.Dst != dst {
			continue
		}
		sent++
		if wrong := w.follow(f, hops); wrong != "" {
			return fmt.Sprintf("%s:\n%s", p, wrong)
		}
	}
	if sent == 0 {
		return fmt.Sprintf("%s sent nothing from %s to %s", hops[0].at, src, dst)
	}
	return ""
}

// follow compares one packet on all its hops.
func (w watched) follow(f capture.Frame, hops []hop) string {
	var captures []*capture.Capture
	for _, c := range w {
		captures = append(captures, c)
	}
	path, err := capture.Hops(f, captures...)
	if err != nil {
		return err.Error()
	}
	var expected, got []string
	for _, h := range hops {
		expected = append(expected, h.String())
	}
	for _, h := range path {
		got = append(got, hop{at: h.Frame.Node + ":" + h.Frame.Interface, out: h.Frame.Outgoing}.String())
	}
	if !slices.Equal(got, expected) {
		return fmt.Sprintf("expected at %s\nseen at     %s", strings.Join(expected, ", "), strings.Join(got, ", "))
	}
	for i, h := range hops {
		want, err := packet.Translate(f.Data, h.packet)
		if err != nil {
			return err.Error()
		}
		if diff := harness.DiffFrame(want, path[i].Frame); diff != "" {
			return fmt.Sprintf("at %s:\n%s", h, diff)
		}
	}
	return ""
}
