package packettest

import (
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// localCase is a protocol with a backend on this node.
type localCase struct{ proto, frontend, backend string }

var localCases = []localCase{
	{"tcp", "vip:70", "lb:30080"}, {"udp", "vip:71", "lb:30053"}, {"sctp", "vip:72", "lb:30099"},
}

// rewritten returns p with other addresses and ports; the kernel sees to TTL and MACs.
func (p pkt) rewritten(src, dst string) pkt {
	p.src, p.dst = ap(src), ap(dst)
	return p
}

// leaving returns p as this node's stack hands it to a device: for a neighbour, or
// for a VIP, whose neighbour entry has the device's own MAC.
func (p pkt) leaving(device, via string) pkt {
	p.smac = nicByName(device).mac()
	p.dmac = p.smac
	if via != "vip" {
		p.dmac = macOf(via)
	}
	return p
}

// turnedIn returns p as it comes back into the stack by the device.
func (p pkt) turnedIn(src, dst, device string) *pkt {
	p = p.rewritten(src, dst).leaving(device, "vip")
	return &p
}

// inward returns p as row.frame makes it arrive, rewritten.
func inward(r row, src, dst string) *pkt { p := r.arrives().rewritten(src, dst); return &p }

// A client's packets for a backend on this node go up the stack, with the client
// as their source, in every mode.
func TestLocalBackends(t *testing.T) {
	const client = "client:40000"
	up := func(name string, given []string, in pkt, dst string, started []string) row {
		r := row{name: name, given: given, in: in, started: started}
		r.deliver = inward(r, client, dst)
		return r
	}
	var rows []row
	for _, c := range localCases {
		m := modeCase{proto: c.proto}
		halfOpen := with(pair("flows_new", "half-open", c.proto, client, c.frontend, client, c.backend), "up", "pair-up")
		established := with(pair("flows", "established", c.proto, client, c.frontend, client, c.backend), "up", "pair-up")
		rows = append(rows,
			up(c.proto+": a first packet goes up with the client as its source", nil, m.first(client, c.frontend), c.backend, halfOpen),
			up(c.proto+": a first packet that is sent again goes the same way", halfOpen, m.first(client, c.frontend), c.backend, nil),
			up(c.proto+": data of an established flow go up", established, m.data(client, c.frontend), c.backend, nil),
			up(c.proto+": the kernel judges the TTL", established, m.data(client, c.frontend).withTTL(1), c.backend, nil))
	}
	pod := with(pair("flows_new", "half-open", "tcp", client, "vip:73", client, "pod:80"), "up", "pair-up")
	rows = append(rows, up("a pod on this node is behind the stack too", nil, tcpPacket(client, "vip:73", syn), "pod:80", pod))
	aside := row{name: "a client whose answers would miss the egress hook is hidden behind the VIP", from: "slow0",
		in:      tcpPacket("aside:40000", "vip:70", syn),
		started: with(pair("flows_new", "half-open", "tcp", "aside:40000", "vip:70", "vip:40000", "lb:30080"), "up", "pair-up")}
	aside.deliver = inward(aside, "vip:40000", "lb:30080")
	standby := tcpPacket(client, "vip:74", syn)
	rows = append(rows, aside,
		row{name: "fullnat to another LB node, which has no route to the VIP, takes this node's address", in: standby,
			out:     sent(standby.nat("lb:40000", "lb2:30080", "lb2")),
			started: pair("flows_new", "half-open", "tcp", client, "vip:74", "lb:40000", "lb2:30080")},
		row{name: "what is put back into the stack is no packet for a VIP", from: "server0",
			in: tcpPacket("vip:40000", "lb:30080", syn).withMACs(nicByName("server0").mac(), nicByName("server0").mac()), pass: true})
	runTable(t, rows)
}

// Answers to requests that started on this node come in by ingress.
func TestAnswersToThisNode(t *testing.T) {
	var rows []row
	for _, c := range modeCases() {
		if c.mode != "fullnat" {
			continue
		}
		halfOpen := with(pair("flows_new", "half-open", c.proto, "lb:50000", c.frontend, "lb:50000", c.backend), "pair-up", "up")
		leftover := with(pair("flows_new", "established", c.proto, "lb:50000", c.frontend, "lb:50000", c.backend), "pair-up", "up")
		established := with(pair("flows", "established", c.proto, "lb:50000", c.frontend, "lb:50000", c.backend), "pair-up", "up")
		first := row{name: c.proto + ": the first answer goes up in TC", given: halfOpen, from: "server0", only: "tc",
			in: c.answer(c.backend, "lb:50000"), entries: c.afterAnswer(halfOpen, leftover, established)}
		first.deliver = inward(first, c.frontend, "lb:50000")
		later := row{name: c.proto + ": data go up", given: established, from: "server0", in: c.data(c.backend, "lb:50000")}
		later.deliver = inward(later, c.frontend, "lb:50000")
		rows = append(rows, first, later,
			row{name: c.proto + ": from a port of a backend and of no flow it is the kernel's", from: "server0",
				in: c.data(c.backend, "lb:50001"), pass: true})
	}
	runTable(t, rows)
}

func runEgressTable(t *testing.T, rows []row) {
	t.Helper()
	newWorld(t).runRows(t, rows, bpf.HookEgress)
}

// The node and its pods as clients of a VIP: balanced with this node's address as
// the source, in every mode; the answer returns here whoever is active.
func TestEgressRequests(t *testing.T) {
	var rows []row
	for _, c := range modeCases() {
		name := c.mode + " " + c.proto + ": "
		halfOpen := with(pair("flows_new", "half-open", c.proto, "lb:50000", c.frontend, "lb:50000", c.backend), "pair-up", "up")
		established := with(pair("flows", "established", c.proto, "lb:50000", c.frontend, "lb:50000", c.backend), "pair-up", "up")
		podFlow := with(pair("flows_new", "half-open", c.proto, "pod:50000", c.frontend, "lb:50000", c.backend), "pair-up", "up")
		leave := func(p pkt) pkt { p = p.rewritten("lb:50000", c.backend); return p.leaving("server0", "b1") }
		rows = append(rows,
			row{name: name + "the node's first packet is balanced", from: "server0", started: halfOpen,
				in: c.first("lb:50000", c.frontend).leaving("server0", "vip"), out: sent(leave(c.first("lb:50000", c.frontend)))},
			row{name: name + "data of an established flow follow", from: "server0", given: established,
				in: c.data("lb:50000", c.frontend).leaving("server0", "vip"), out: sent(leave(c.data("lb:50000", c.frontend)))},
			row{name: name + "a pod's packet that was not masqueraded gets the node's address", from: "server0", started: podFlow,
				in: c.first("pod:50000", c.frontend).leaving("server0", "vip"), out: sent(leave(c.first("pod:50000", c.frontend)))})
	}
	first := tcpPacket("lb:50000", "vip:80", syn)
	rows = append(rows,
		row{name: "a route to the VIP by another device than the backend's: the packet moves over", from: "client0",
			in: first.leaving("client0", "vip"), out: sent(first.rewritten("lb:50000", "b1:8080").leaving("server0", "b1")),
			started: with(pair("flows_new", "half-open", "tcp", "lb:50000", "vip:80", "lb:50000", "b1:8080"), "pair-up", "up")},
		row{name: "a backend on another LB node", from: "server0",
			in:      tcpPacket("lb:50000", "vip:74", syn).leaving("server0", "vip"),
			out:     sent(tcpPacket("lb:50000", "lb2:30080", syn).leaving("server0", "lb2")),
			started: with(pair("flows_new", "half-open", "tcp", "lb:50000", "vip:74", "lb:50000", "lb2:30080"), "pair-up", "up")},
		row{name: "a TTL of 1 is the kernel's to judge, and it has", from: "server0",
			given: with(pair("flows", "established", "tcp", "lb:50000", "vip:80", "lb:50000", "b1:8080"), "pair-up", "up"),
			in:    tcpPacket("lb:50000", "vip:80", ack).withTTL(1).leaving("server0", "vip"),
			out:   sent(tcpPacket("lb:50000", "b1:8080", ack).withTTL(1).leaving("server0", "b1"))},
		row{name: "no address towards the backend", from: "server0", change: func(s *state) {
			s.frontends = append(s.frontends, frontend{tcp, 76, bpf.ModeFullnat, []string{"b1:8080"}, "0.0.0.0"})
		}, in: tcpPacket("lb:50000", "vip:76", syn).leaving("server0", "vip"), drop: bpf.DropNoSource},
		row{name: "no backend", from: "server0", in: tcpPacket("lb:50000", "vip:84", syn).leaving("server0", "vip"), drop: bpf.DropNoBackend, answer: reset},
		row{name: "a port of the VIP without a service", from: "server0",
			in: tcpPacket("lb:50000", "vip:4444", syn).leaving("server0", "vip"), drop: bpf.DropNoService, answer: reset},
		row{name: "a datagram of the node to a closed port", from: "server0", drop: bpf.DropNoService,
			in: udpPacket("192.0.2.1:50000", "vip:4444", "x").leaving("server0", "vip"), answer: complaint("vip", unreachable, portUnreachable, 0)},
		row{name: "longer than the way to the backend lets through: the node takes that from the VIP, not from itself",
			from: "server0", drop: bpf.DropMTUExceeded,
			given:  with(pair("flows", "established", "tcp", "lb:50000", "vip:85", "lb:50000", "narrow:8080"), "pair-up", "up"),
			in:     tcpPacket("lb:50000", "vip:85", ack).withPayload(1361).leaving("server0", "vip"),
			answer: complaint("vip", unreachable, fragmentationNeeded, 1400)},
		row{name: "data of no flow", from: "server0", in: tcpPacket("lb:50000", "vip:80", ack).leaving("server0", "vip"), drop: bpf.DropNoFlow},
		row{name: "a VIP answers the node's ping", from: "server0", in: echoRequest("lb", "vip", 56).leaving("server0", "vip"),
			out: sent(echoRequest("lb", "vip", 56).leaving("server0", "vip").turned())},
		row{name: "a fragment for a VIP", from: "server0",
			in: udpPacket("lb:50000", "vip:53", "x").withFragment(0x2000).leaving("server0", "vip"), drop: bpf.DropFragment},
		row{name: "a packet for nobody we know", from: "server0", in: tcpPacket("lb:50000", "b2:22", syn).leaving("server0", "b2"), pass: true})
	runEgressTable(t, rows)
}

// Answers of backends on this node leave as the VIP's, by the way that the kernel
// has chosen.
func TestEgressAnswers(t *testing.T) {
	const client = "client:40000"
	var rows []row
	for _, c := range localCases {
		m := modeCase{proto: c.proto}
		halfOpen := with(pair("flows_new", "half-open", c.proto, client, c.frontend, client, c.backend), "up", "pair-up")
		leftover := with(pair("flows_new", "established", c.proto, client, c.frontend, client, c.backend), "up", "pair-up")
		established := with(pair("flows", "established", c.proto, client, c.frontend, client, c.backend), "up", "pair-up")
		rows = append(rows,
			row{name: c.proto + ": the first answer leaves as the VIP's", given: halfOpen,
				in:      m.answer(c.backend, client).leaving("client0", "client"),
				deliver: sent(m.answer(c.backend, client).rewritten(c.frontend, client).leaving("client0", "client")),
				entries: m.afterAnswer(halfOpen, leftover, established)},
			row{name: c.proto + ": data leave as the VIP's", given: established,
				in:      m.data(c.backend, client).leaving("client0", "client"),
				deliver: sent(m.data(c.backend, client).rewritten(c.frontend, client).leaving("client0", "client"))},
			row{name: c.proto + ": by whatever device they leave", given: established, from: "server0",
				in:      m.data(c.backend, client).leaving("server0", "b1"),
				deliver: sent(m.data(c.backend, client).rewritten(c.frontend, client).leaving("server0", "b1"))},
			row{name: c.proto + ": of no flow they are the kernel's", in: m.data(c.backend, client).leaving("client0", "client"), pass: true})
	}
	hidden := with(pair("flows", "established", "tcp", "aside:40000", "vip:70", "vip:40000", "lb:30080"), "up", "pair-up")
	rows = append(rows,
		row{name: "an ICMP error of a backend on this node leaves as the VIP's",
			given: with(pair("flows", "established", "udp", client, "vip:71", client, "lb:30053"), "up", "pair-up"),
			in:    icmpError("lb", unreachable, portUnreachable, 0, udpPacket(client, "lb:30053", "x"), 8).leaving("client0", "client"),
			deliver: sent(icmpError("vip", unreachable, portUnreachable, 0, udpPacket(client, "vip:71", "x"), 8).
				leaving("client0", "client"))},
		row{name: "an answer to a client behind the VIP finds the client", given: hidden, from: "server0",
			in:  tcpPacket("lb:30080", "vip:40000", ack).leaving("server0", "vip"),
			out: sent(tcpPacket("vip:70", "aside:40000", ack).leaving("slow0", "aside"))})
	runEgressTable(t, rows)
}

// The node, or a pod on it, and a backend on it: both see the VIP at the other end,
// and what leaves by the VIP's route is turned back into the stack.
func TestHairpin(t *testing.T) {
	var rows []row
	for _, c := range localCases {
		m := modeCase{proto: c.proto}
		halfOpen := with(pair("flows_new", "half-open", c.proto, "lb:50000", c.frontend, "vip:50000", c.backend), "up pair-up", "up pair-up")
		leftover := with(pair("flows_new", "established", c.proto, "lb:50000", c.frontend, "vip:50000", c.backend), "up pair-up", "up pair-up")
		established := with(pair("flows", "established", c.proto, "lb:50000", c.frontend, "vip:50000", c.backend), "up pair-up", "up pair-up")
		rows = append(rows,
			row{name: c.proto + ": a first packet comes back with the VIP as its source", from: "server0", started: halfOpen,
				in:  m.first("lb:50000", c.frontend).leaving("server0", "vip"),
				out: m.first("lb:50000", c.frontend).turnedIn("vip:50000", c.backend, "server0")},
			row{name: c.proto + ": the answer comes back as the VIP's", from: "server0", given: halfOpen,
				in:      m.answer(c.backend, "vip:50000").leaving("server0", "vip"),
				out:     m.answer(c.backend, "vip:50000").turnedIn(c.frontend, "lb:50000", "server0"),
				entries: m.afterAnswer(halfOpen, leftover, established)},
			row{name: c.proto + ": what the client sends then comes back, and promotes a TCP flow", from: "server0",
				given:   m.afterAnswer(halfOpen, leftover, established),
				in:      m.data("lb:50000", c.frontend).leaving("server0", "vip"),
				out:     m.data("lb:50000", c.frontend).turnedIn("vip:50000", c.backend, "server0"),
				entries: m.afterAcknowledgement(halfOpen, leftover, established)},
			row{name: c.proto + ": data do", from: "server0", given: established,
				in:  m.data("lb:50000", c.frontend).leaving("server0", "vip"),
				out: m.data("lb:50000", c.frontend).turnedIn("vip:50000", c.backend, "server0")})
		if c.proto != "udp" {
			rows = append(rows, row{name: c.proto + ": an answer of no flow ends here", from: "server0",
				in: m.data(c.backend, "vip:50000").leaving("server0", "vip"), drop: bpf.DropNoFlow})
		}
	}
	rows = append(rows, row{name: "a pod reaches itself by the VIP", from: "server0",
		in:      tcpPacket("pod:50000", "vip:73", syn).leaving("server0", "vip"),
		out:     tcpPacket("pod:50000", "vip:73", syn).turnedIn("vip:50000", "pod:80", "server0"),
		started: with(pair("flows_new", "half-open", "tcp", "pod:50000", "vip:73", "vip:50000", "pod:80"), "up pair-up", "up pair-up")})
	runEgressTable(t, rows)
}
