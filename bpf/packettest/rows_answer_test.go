package packettest

import (
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// passive makes this node one that is not the VIP's active one.
func passive(s *state) { s.vips["vip"] = bpf.VIP{PortMin: 40000, PortMax: 49999} }

// First packets that nobody serves are refused.
func TestRefused(t *testing.T) {
	const client = "client:40000"
	closedTCP, closedUDP := tcpPacket(client, "vip:4444", syn), udpPacket(client, "vip:4444", "hello")
	closedSCTP := sctpPacket(client, "vip:4444", chunkInit)
	port := complaint("vip", unreachable, portUnreachable, 0)
	no := bpf.DropNoService
	unserved := func(s *state) {
		s.frontends = append(s.frontends, frontend{udp, 84, bpf.ModeFullnat, nil, ""}, frontend{sctp, 84, bpf.ModeDefault, nil, ""})
	}
	runTable(t, []row{
		{name: "a SYN to a closed port", in: closedTCP, drop: no, answer: reset},
		{name: "a SYN with data counts them", in: closedTCP.withPayload(100), drop: no, answer: reset},
		{name: "a SYN with TCP options", in: closedTCP.withTCPOptions(2, 4, 5, 0xb4), drop: no, answer: reset},
		{name: "a SYN with IP options", in: closedTCP.withIPOptions(148, 4, 0, 0), drop: no, answer: reset},
		{name: "a padded SYN", in: closedTCP.padded(60), drop: no, answer: reset},
		{name: "a SYN with ECN bits", in: closedTCP.with(atL4+13, 0xc2), drop: no, answer: reset},
		{name: "a SYN to a port that is open for UDP", in: tcpPacket(client, "vip:53", syn), drop: no, answer: reset},
		{name: "a SYN to a closed port with TTL 1 has arrived", in: closedTCP.withTTL(1), drop: no, answer: reset},
		{name: "a SYN of a host that is a backend too", from: "server0", in: tcpPacket("b1:40000", "vip:4444", syn), drop: no, answer: reset},
		{name: "a SYN from behind a gateway: the answer goes to that",
			in: tcpPacket("far:7", "vip:4444", syn).withMACs(macOf("gateway"), nicByName("client0").mac()), drop: no, answer: reset},
		{name: "a SYN to a passive node", change: passive, in: closedTCP, drop: no, answer: reset},

		{name: "a datagram to a closed port", in: closedUDP, drop: no, answer: port},
		{name: "an empty datagram", in: udpPacket(client, "vip:4444", ""), drop: no, answer: port},
		{name: "an empty datagram, padded", in: udpPacket(client, "vip:4444", "").padded(60), drop: no, answer: port},
		{name: "a datagram without a checksum", in: closedUDP.withoutSum(), drop: no, answer: port},
		{name: "a long datagram", in: closedUDP.withPayload(1472), drop: no, answer: port},
		{name: "a datagram with IP options", in: closedUDP.withIPOptions(148, 4, 0, 0), drop: no, answer: port},
		{name: "a datagram to a system port of a passive node", change: passive, in: udpPacket(client, "vip:99", "x"), drop: no},
		{name: "a datagram to a passive node", change: passive, in: closedUDP, drop: no},
		{name: "a datagram of a backend may answer a flow of another node", from: "server0",
			in: udpPacket("b1:5353", "vip:4444", "x"), drop: bpf.DropNoFlow},
		{name: "so may one of a backend that no service has now", from: "server0",
			change: func(s *state) { s.backends = []string{"b3"} }, in: udpPacket("b3:5353", "vip:4444", "x"), drop: bpf.DropNoFlow},
		{name: "one to an open port is a client's, who lives there too: no flow has a frontend's port for its source", from: "server0",
			in: udpPacket("b3:40000", "vip:53", "x"), change: func(s *state) { s.backends = []string{"b3"} },
			out:     sent(udpPacket("b3:40000", "vip:53", "x").nat("vip:40000", "b1:5353", "b1")),
			started: pair("flows_new", "half-open", "udp", "b3:40000", "vip:53", "vip:40000", "b1:5353")},

		{name: "an INIT to a closed port", in: closedSCTP, drop: no, answer: abort},
		{name: "an INIT with parameters", in: closedSCTP.withParameters(0x80, 8, 0, 4, 0xc0, 0, 0, 4), drop: no, answer: abort},
		{name: "an INIT with IP options", in: closedSCTP.withIPOptions(148, 4, 0, 0), drop: no, answer: abort},
		{name: "an INIT whose tag is 0", tcOnly: true, in: closedSCTP.with(atL4+16, 0, 0, 0, 0), drop: no},
		{name: "an INIT that is cut short", tcOnly: true, in: sctpPacket(client, "vip:4444", chunkSack).withVtag(0).with(atL4+12, chunkInit), drop: no},
		{name: "a COOKIE ECHO to a closed port", in: sctpPacket(client, "vip:4444", chunkCookieEcho), drop: bpf.DropNoFlow},

		{name: "no backend for a SYN", in: tcpPacket(client, "vip:84", syn), drop: bpf.DropNoBackend, answer: reset},
		{name: "no backend for a datagram", change: unserved, in: udpPacket(client, "vip:84", "x"), drop: bpf.DropNoBackend, answer: port},
		{name: "no backend for a datagram at a passive node", in: udpPacket(client, "vip:84", "x"), drop: bpf.DropNoBackend, answer: port,
			change: func(s *state) { unserved(s); passive(s) }},
		{name: "no backend for an INIT", change: unserved, in: sctpPacket(client, "vip:84", chunkInit), drop: bpf.DropNoBackend, answer: abort},

		{name: "XDP leaves a refusal to TC where it may not transmit", tcOnly: true, in: closedTCP, drop: no, answer: reset,
			change: func(s *state) { s.devices["client0"] = bpf.Device{} }},
		{name: "XDP redirects a refusal where XDP_TX wakes nobody", kicks: true, in: closedTCP, drop: no, answer: reset,
			change: redirectOnly("client0")},
		{name: "a sender that is a group of stations", in: closedTCP.withMACs(macOf("client"), nil).fromGroup(), drop: no},
	})
}

// Packets of flows that go no further.
func TestICMPErrors(t *testing.T) {
	const client = "client:40000"
	flow := pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080")
	data := tcpPacket(client, "vip:80", ack).withPayload(9)
	expired := func(from string) answer { return complaint(from, timeExceeded, 0, 0) }
	bare := func(s *state) { s.devices["client0"] = bpf.Device{Flags: bpf.DeviceXDPTx} }
	rows := []row{
		{name: "TTL 1 of a flow", given: flow, in: data.withTTL(1), drop: bpf.DropTTLExceeded, answer: expired("192.0.2.1")},
		{name: "TTL 0 of a flow", given: flow, in: data.withTTL(0), drop: bpf.DropTTLExceeded, answer: expired("192.0.2.1")},
		{name: "TTL 1 of an answer: the backend is told", given: flow, from: "server0",
			in: tcpPacket("b1:8080", "vip:40000", ack).withTTL(1), drop: bpf.DropTTLExceeded, answer: expired("lb")},
		{name: "TTL 1 of a first packet", in: tcpPacket(client, "vip:80", syn).withTTL(1), drop: bpf.DropTTLExceeded, answer: expired("192.0.2.1")},
		{name: "TTL 1 of a first datagram", in: udpPacket(client, "vip:53", "").withTTL(1), drop: bpf.DropTTLExceeded, answer: expired("192.0.2.1")},
		{name: "TTL 1 of an INIT", in: sctpPacket(client, "vip:9999", chunkInit).withTTL(1), drop: bpf.DropTTLExceeded, answer: expired("192.0.2.1")},
		{name: "TTL 1 where the device has no address: the VIP tells it", change: bare, given: flow,
			in: data.withTTL(1), drop: bpf.DropTTLExceeded, answer: expired("vip")},
		{name: "TTL 1 with IP options", given: flow, in: data.withTTL(1).withIPOptions(148, 4, 0, 0),
			drop: bpf.DropTTLExceeded, answer: expired("192.0.2.1")},
	}
	narrow := pair("flows", "established", "tcp", client, "vip:85", "vip:40000", "narrow:8080")
	slim := pair("flows", "established", "tcp", "narrow:40000", "vip:80", "vip:40000", "b1:8080")
	tooLong := complaint("192.0.2.1", unreachable, fragmentationNeeded, 1400)
	over := tcpPacket(client, "vip:85", ack).withPayload(1361)
	rows = append(rows,
		row{name: "one byte more than the next hop's MTU", given: narrow, in: over.withFragment(0x4000), drop: bpf.DropMTUExceeded, answer: tooLong},
		row{name: "the same without DF: fragments would not come together", given: narrow, in: over, drop: bpf.DropMTUExceeded, answer: tooLong},
		row{name: "an answer longer than the MTU towards the client", given: slim, from: "server0",
			in: tcpPacket("b1:8080", "vip:40000", ack).withPayload(1400), drop: bpf.DropMTUExceeded,
			answer: complaint("lb", unreachable, fragmentationNeeded, 1400)},
		row{name: "segments longer than the MTU", given: narrow, only: "tc", gso: 1361,
			in: tcpPacket(client, "vip:85", ack).withPayload(3000), drop: bpf.DropMTUExceeded, answer: tooLong},
		row{name: "XDP leaves the error to TC where it may not transmit", tcOnly: true, given: narrow, in: over,
			change: func(s *state) { s.devices["client0"] = bpf.Device{Addr: bpf.Addr(addr("192.0.2.1"))} },
			drop:   bpf.DropMTUExceeded, answer: tooLong},
	)
	runTable(t, rows)
}

// ICMP errors about packets that were rewritten here, on their way along the flow.
func TestICMPTranslation(t *testing.T) {
	const client = "client:40000"
	flows := both(
		pair("flows", "established", "tcp", client, "vip:80", "vip:50000", "b1:8080"),
		pair("flows", "established", "udp", client, "vip:53", "vip:50001", "b1:5353"),
		pair("flows", "established", "sctp", client, "vip:9999", "vip:50002", "b1:9998"),
		pair("flows", "established", "tcp", client, "vip:81", client, "b1:8080"),
		pair("flows", "established", "tcp", client, "vip:82", "lb:50003", "b1:8080"),
		pair("flows_new", "half-open", "udp", client, "vip:54", client, "b1:5353"))
	segment := tcpPacket("vip:50000", "b1:8080", ack).withPayload(400).withTTL(63)
	original := tcpPacket(client, "vip:80", ack).withPayload(400).withTTL(63)
	// along is a row whose error, about the packet that left, arrives as one about
	// the packet that came.
	along := func(name, from, speaker string, left, came pkt, quoted int, source, via string) row {
		in := icmpError(speaker, unreachable, fragmentationNeeded, 1400, left, quoted)
		out := icmpError(source, unreachable, fragmentationNeeded, 1400, came, quoted)
		out.smac, out.dmac, out.ttl = nicTowards(via).mac(), macOf(via), 63
		in.smac = macOf("b1")
		return row{name: name, given: flows, from: from, in: in, out: &out}
	}
	datagram, asked := udpPacket("vip:50001", "b1:5353", "query"), udpPacket(client, "vip:53", "query")
	chunk := sctpPacket("vip:50002", "b1:9998", chunkData).withPayload(40)
	first := sctpPacket(client, "vip:9999", chunkData).withPayload(40)
	answered, served := tcpPacket("vip:80", client, ack).withPayload(20), tcpPacket("b1:8080", "vip:50000", ack).withPayload(20)
	plain := along("about the client's packet, by the backend", "server0", "b1", segment, original, 8, "vip", "client")
	damaged, passing := plain, plain
	damaged.name, damaged.in, damaged.out = "a wrong ICMP checksum stays wrong", plain.in.withL4Error(5), sent(plain.out.withL4Error(5))
	passing.name, passing.in = "with TTL 1 it ends here, and nobody is told", plain.in.withTTL(1)
	passing.out, passing.drop = nil, bpf.DropTTLExceeded
	runTable(t, []row{
		plain, damaged, passing,
		along("by a router behind the VIP: the client sees the VIP", "server0", "b2", segment, original, 8, "vip", "client"),
		along("quoted with its checksum", "server0", "b1", segment, original, 20, "vip", "client"),
		along("quoted without the end of its checksum", "server0", "b1", segment, original, 16, "vip", "client"),
		along("quoted whole", "server0", "b1", segment, original, 0, "vip", "client"),
		along("quoted with IP options", "server0", "b1", segment.withIPOptions(148, 4, 0, 0), original.withIPOptions(148, 4, 0, 0), 20, "vip", "client"),
		along("about a datagram", "server0", "b1", datagram, asked, 8, "vip", "client"),
		along("about a datagram without a checksum", "server0", "b1", datagram.withoutSum(), asked.withoutSum(), 8, "vip", "client"),
		along("about an SCTP packet", "server0", "b1", chunk, first, 8, "vip", "client"),
		along("about an SCTP packet, with its CRC", "server0", "b1", chunk, first, 12, "vip", "client"),
		along("about a packet in default mode", "server0", "b1", tcpPacket(client, "b1:8080", ack), tcpPacket(client, "vip:81", ack), 8, "vip", "client"),
		along("about a packet in onearm mode", "server0", "b1", tcpPacket("lb:50003", "b1:8080", ack), tcpPacket(client, "vip:82", ack), 8, "vip", "client"),
		along("about a datagram of a half-open flow", "server0", "b1", udpPacket(client, "b1:5353", "x"), udpPacket(client, "vip:54", "x"), 8, "vip", "client"),
		along("about an answer, by the client", "", "client", answered, served, 20, "vip", "b1"),
		along("about an answer, by a router", "", "gateway", answered, served, 8, "vip", "b1"),
		along("about an answer in default mode", "", "gateway", tcpPacket("vip:81", client, ack), tcpPacket("b1:8080", client, ack), 8, "client", "b1"),

		{name: "about a flow that is not here", given: flows, from: "server0", drop: bpf.DropNoFlow,
			in: icmpError("b1", unreachable, portUnreachable, 0, udpPacket("vip:50009", "b1:5353", "x"), 8)},
		{name: "about a packet that left no LB", given: flows, drop: bpf.DropNoFlow,
			in: icmpError("client", unreachable, fragmentationNeeded, 600, tcpPacket("vip:80", "client:1", ack), 8)},
		{name: "addressed to another VIP than the quoted one", given: flows, from: "server0", drop: bpf.DropNoFlow,
			change: func(s *state) { s.vips["vip2"] = bpf.VIP{} }, in: misaddressed(plain.in, "vip2")},
		{name: "about a later fragment", given: flows, from: "server0", drop: bpf.DropNoFlow,
			in: icmpError("b1", timeExceeded, 1, 0, segment.withFragment(7), 8)},
		{name: "about an echo reply", given: flows, drop: bpf.DropNoFlow,
			in: icmpError("client", unreachable, 1, 0, echoRequest("vip", "client", 56), 8)},
		{name: "that quotes too little", given: flows, from: "server0", drop: bpf.DropNoFlow,
			in: icmpError("b1", unreachable, fragmentationNeeded, 1400, segment, 7)},
		{name: "that quotes nothing", given: flows, from: "server0", drop: bpf.DropNoFlow, in: emptyError("b1")},
		{name: "from the VIP", given: flows, from: "server0", drop: bpf.DropSpoofed,
			in: icmpError("vip", unreachable, portUnreachable, 0, segment, 8).withMACs(macOf("b1"), nicByName("server0").mac())},
		{name: "of this node's own connection", given: flows, from: "server0", pass: true,
			in: icmpError("b1", unreachable, portUnreachable, 0, udpPacket("lb:33", "b1:5353", "x"), 8)},
		{name: "that passes by", given: flows, from: "server0", pass: true,
			in: icmpError("b1", unreachable, portUnreachable, 0, udpPacket("client2:33", "b1:5353", "x"), 8)},
		{name: "XDP leaves it to TC where it may not transmit", tcOnly: true, given: flows, from: plain.from, in: plain.in, out: plain.out,
			change: func(s *state) { s.devices["client0"] = bpf.Device{} }},
	})
}

func misaddressed(p pkt, to string) pkt { p.dst = ap(to + ":0"); return p }

func emptyError(from string) pkt {
	return pkt{src: ap(from + ":0"), dst: ap("vip:0"), proto: icmp, ttl: 64, icmpType: unreachable}
}
