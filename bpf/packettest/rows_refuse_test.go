package packettest

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// Offsets in frames without IP options.
const (
	atEtherType = 12
	atVersion   = 14
	atLength    = 16
	atSource    = 26
	atL4        = 34
	atUDPLength = 38
	atDataOff   = 46
)

// What is not the load balancer's goes on untouched.
func TestPassed(t *testing.T) {
	const client = "client:40000"
	foreign := net.HardwareAddr{2, 9, 9, 9, 9, 9}
	ipv6 := tcpPacket(client, "vip:80", syn).with(atEtherType, 0x86, 0xdd).with(atVersion, 0x60)
	runTable(t, []row{
		{name: "TCP to another host", in: tcpPacket(client, "b2:80", syn), pass: true},
		{name: "UDP to another host", in: udpPacket(client, "b2:53", "x"), pass: true},
		{name: "SCTP to another host", in: sctpPacket(client, "b2:53", chunkInit), pass: true},
		{name: "data to another host", in: tcpPacket(client, "b2:80", ack), pass: true},
		{name: "ping of another host", in: echoRequest("client", "lb", 56), pass: true},
		{name: "a fragment to another host", in: udpPacket(client, "b2:53", "x").withFragment(0x2000), pass: true},
		{name: "a later fragment to another host", in: udpPacket(client, "b2:53", "x").withFragment(5), pass: true},
		{name: "a malformed packet to another host", in: tcpPacket(client, "b2:80", syn).with(atDataOff, 0x10), pass: true},
		{name: "another protocol to another host", in: tcpPacket(client, "b2:80", syn).with(23, 47), pass: true},
		{name: "from a VIP to another host", in: tcpPacket("vip:40000", "b2:80", syn), pass: true},
		{name: "an expiring packet to another host", in: tcpPacket(client, "b2:80", syn).withTTL(1), pass: true},
		{name: "ARP", in: tcpPacket(client, "vip:80", syn).with(atEtherType, 0x08, 0x06), pass: true},
		{name: "IPv6", in: ipv6, pass: true},
		{name: "a VLAN tag in the frame", in: tcpPacket(client, "vip:80", syn).with(atEtherType, 0x81, 0), pass: true},
		{name: "IP version 5", in: tcpPacket(client, "vip:80", syn).with(atVersion, 0x55), pass: true},
		{name: "an Ethernet header alone", in: tcpPacket(client, "vip:80", syn).cut(14), pass: true, only: "xdp"},
		{name: "half an IP header", in: tcpPacket(client, "vip:80", syn).cut(30), pass: true, only: "xdp"},
		{name: "a first packet to another station, flooded by a bridge",
			in: tcpPacket(client, "vip:80", syn).withMACs(macOf("client"), foreign), pass: true},
		{name: "a ping to another station",
			in: echoRequest("client", "vip", 10).withMACs(macOf("client"), foreign), pass: true},
		{name: "a device whose MAC is not known takes frames to any",
			change: func(s *state) { s.devices["client0"] = bpf.Device{Flags: bpf.DeviceXDPTx} }, only: "xdp",
			in:      tcpPacket(client, "vip:80", syn).withMACs(macOf("client"), foreign),
			out:     sent(tcpPacket(client, "vip:80", syn).nat("vip:40000", "b1:8080", "b1")),
			started: pair("flows_new", "half-open", "tcp", client, "vip:80", "vip:40000", "b1:8080")},
	})
}

// What is for a VIP and cannot be served is dropped for a reason.
func TestDropped(t *testing.T) {
	const client = "client:40000"
	first, data := tcpPacket(client, "vip:80", syn), tcpPacket(client, "vip:80", ack).withPayload(9)
	runTable(t, []row{
		{name: "data to a closed port", in: tcpPacket(client, "vip:4444", ack), drop: bpf.DropNoFlow},
		{name: "data without a flow", in: data, drop: bpf.DropNoFlow},
		{name: "SYN and ACK without a flow", in: tcpPacket(client, "vip:80", syn|ack), drop: bpf.DropNoFlow},
		{name: "FIN without a flow", in: tcpPacket(client, "vip:80", fin|ack), drop: bpf.DropNoFlow},
		{name: "RST without a flow", in: tcpPacket(client, "vip:80", rst), drop: bpf.DropNoFlow},
		{name: "SYN and FIN", in: tcpPacket(client, "vip:80", syn|fin), drop: bpf.DropNoFlow},
		{name: "SYN and RST", in: tcpPacket(client, "vip:80", syn|rst), drop: bpf.DropNoFlow},
		{name: "no flag at all", in: tcpPacket(client, "vip:80", 0), drop: bpf.DropNoFlow},
		{name: "an answer of a backend without a flow", from: "server0", in: tcpPacket("b1:8080", "vip:40000", syn|ack), drop: bpf.DropNoFlow},
		{name: "data of a backend without a flow", from: "server0", in: tcpPacket("b1:8080", "vip:80", ack), drop: bpf.DropNoFlow},
		{name: "an answer of a backend without a flow, to an open port", from: "server0", in: tcpPacket("b1:8080", "vip:80", syn|ack), drop: bpf.DropNoFlow},
		{name: "an SCTP answer of a backend without a flow, to an open port", from: "server0",
			in: sctpPacket("b1:9998", "vip:9999", chunkInitAck), drop: bpf.DropNoFlow},
		{name: "an SCTP answer of a backend without a flow", from: "server0", in: sctpPacket("b1:9998", "vip:40000", chunkInitAck), drop: bpf.DropNoFlow},
		{name: "onearm without a source address", in: tcpPacket(client, "vip:92", syn), drop: bpf.DropNoSource},

		{name: "source and destination are the VIP", in: tcpPacket("vip:80", "vip:80", syn), drop: bpf.DropSpoofed},
		{name: "the source is the VIP, another port", in: udpPacket("vip:9", "vip:53", "x"), drop: bpf.DropSpoofed},
		{name: "the source is another VIP", in: tcpPacket("vip2:80", "vip:80", syn), drop: bpf.DropSpoofed,
			change: func(s *state) { s.vips["vip2"] = bpf.VIP{} }},
		{name: "the source is a loopback address", in: tcpPacket("127.0.0.1:80", "vip:80", syn), drop: bpf.DropSpoofed},
		{name: "the source is the null address", in: tcpPacket("0.0.0.0:80", "vip:80", syn), drop: bpf.DropSpoofed},
		{name: "the source is a multicast address", in: udpPacket("224.0.0.9:80", "vip:53", "x"), drop: bpf.DropSpoofed},
		{name: "the source is the broadcast address", in: udpPacket("255.255.255.255:80", "vip:53", "x"), drop: bpf.DropSpoofed},
		{name: "a ping that claims to come from the VIP", in: echoRequest("vip", "vip", 9), drop: bpf.DropSpoofed},

		{name: "a first fragment to a VIP", in: udpPacket(client, "vip:53", "x").withFragment(0x2000), drop: bpf.DropFragment},
		{name: "a later fragment to a VIP", in: udpPacket(client, "vip:53", "x").withFragment(3), drop: bpf.DropFragment},
		{name: "a fragment of a ping to a VIP", in: echoRequest("client", "vip", 99).withFragment(0x2000), drop: bpf.DropFragment},
		{name: "a first fragment of a flow",
			given: pair("flows", "established", "tcp", client, "vip:81", client, "b1:8080"), from: "server0",
			in: tcpPacket("b1:8080", client, ack).withFragment(0x2000), drop: bpf.DropFragment},
		{name: "a later fragment of a flow in default mode cannot be told from others",
			given: pair("flows", "established", "tcp", client, "vip:81", client, "b1:8080"), from: "server0",
			in: tcpPacket("b1:8080", client, ack).withFragment(7), pass: true},

		{name: "GRE to a VIP", in: first.with(23, 47), drop: bpf.DropProtocol},
		{name: "a redirect to a VIP", in: echoRequest("client", "vip", 9).with(atL4, 5, 1), drop: bpf.DropProtocol},
		{name: "an echo reply to a VIP", in: echoRequest("client", "vip", 9).with(atL4, 0), drop: bpf.DropProtocol},
		{name: "an echo request with a code", in: echoRequest("client", "vip", 9).with(atL4+1, 1), drop: bpf.DropProtocol},

		{name: "a packet of a flow with TTL 2 leaves with 1",
			given: pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080"),
			in:    data.withTTL(2), out: sent(data.withTTL(2).nat("vip:40000", "b1:8080", "b1"))},
		{name: "a packet of a flow with TTL 255 leaves with 254",
			given: pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080"),
			in:    data.withTTL(255), out: sent(data.withTTL(255).nat("vip:40000", "b1:8080", "b1"))},
	})
}

// Headers that are cut short or lie.
func TestMalformed(t *testing.T) {
	const client = "client:40000"
	flow := both(pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080"),
		pair("flows", "established", "udp", client, "vip:53", "vip:40000", "b1:5353"),
		pair("flows", "established", "sctp", client, "vip:9999", "vip:40000", "b1:9998"),
		pair("flows", "established", "tcp", client, "vip:81", client, "b1:8080"))
	length := func(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
	data := tcpPacket(client, "vip:80", ack).withPayload(20)
	datagram := udpPacket(client, "vip:53", "0123456789")
	chunk := sctpPacket(client, "vip:9999", chunkData).withPayload(8)
	bad := func(name string, in pkt) row {
		return row{name: name, given: flow, in: in, drop: bpf.DropMalformed}
	}
	rows := []row{
		bad("IP header length 4 words", data.with(atVersion, 0x44)),
		bad("IP header length 0", data.with(atVersion, 0x40)),
		bad("IP header longer than the packet", tcpPacket(client, "vip:80", ack).with(atVersion, 0x4f)),
		bad("IP length 0", data.with(atLength, 0, 0)),
		bad("IP length less than its header", data.with(atLength, length(19)...)),
		bad("IP length one more than the frame", data.with(atLength, length(61)...)),
		bad("IP length much more than the frame", data.with(atLength, 0xff, 0xff)),
		bad("the frame ends within the payload", data.cut(60)),
		bad("the frame ends within the TCP header", data.cut(40)),
		bad("IP length ends within the TCP header", data.with(atLength, length(39)...)),
		bad("IP length ends behind the ports", data.with(atLength, length(24)...)),
		bad("TCP data offset 0", data.with(atDataOff, 0x00)),
		bad("TCP data offset 4 words", data.with(atDataOff, 0x40)),
		bad("TCP data offset beyond the packet", data.with(atDataOff, 0xf0)),
		bad("UDP header cut short", datagram.with(atLength, length(27)...)),
		bad("UDP length 0", datagram.with(atUDPLength, 0, 0)),
		bad("UDP length 7", datagram.with(atUDPLength, 0, 7)),
		bad("UDP length one more than the packet has", datagram.with(atUDPLength, 0, 19)),
		bad("UDP length into the padding", udpPacket(client, "vip:53", "").padded(60).with(atUDPLength, 0, 20)),
		bad("SCTP common header cut short", chunk.with(atLength, length(31)...)),
		bad("SCTP without a chunk", chunk.with(atLength, length(32)...)),
		bad("SCTP that ends between 4-byte words", chunk.with(atLength, length(38)...)),
		bad("ICMP header cut short", echoRequest("client", "vip", 0).with(atLength, length(27)...)),
		bad("a SYN with a lying header length makes no flow",
			tcpPacket("client2:40000", "vip:80", syn).with(atDataOff, 0x60)),
		bad("a TCP packet to a closed port with a lying header length",
			tcpPacket(client, "vip:4444", syn).with(atDataOff, 0x10)),
		{name: "an answer in default mode with a lying header length", given: flow, from: "server0",
			in: tcpPacket("b1:8080", client, ack).with(atDataOff, 0x10), drop: bpf.DropMalformed},
		{name: "UDP length less than the packet has", given: flow, in: datagram.padded(0).with(atUDPLength, 0, 18),
			out: sent(datagram.nat("vip:40000", "b1:5353", "b1"))},
	}
	runTable(t, rows)
}

// redirectOnly makes a device one that XDP_TX does not wake, as veth is.
func redirectOnly(name string) func(*state) {
	return func(s *state) {
		d := s.devices[name]
		d.Flags |= bpf.DeviceRedirect
		s.devices[name] = d
	}
}

// A VIP answers ping.
func TestEcho(t *testing.T) {
	var rows []row
	ping := func(name string, in pkt) row {
		arrived := (&row{in: in}).arrives()
		return row{name: name, in: in, out: sent(arrived.turned())}
	}
	for _, size := range []int{0, 1, 18, 56, 57, 1400, 1472, 3000} {
		rows = append(rows, ping(fmt.Sprintf("echo of %d bytes", size), echoRequest("client", "vip", size)))
	}
	rows = append(rows,
		ping("echo of one byte, padded", echoRequest("client", "vip", 1).padded(60)),
		ping("echo with TTL 1 has arrived", echoRequest("client", "vip", 56).withTTL(1)),
		ping("echo with TTL 255", echoRequest("client", "vip", 56).withTTL(255)),
		ping("echo with IP options", echoRequest("client", "vip", 56).withIPOptions(148, 4, 0, 0)),
		ping("echo with a wrong checksum is answered with the same error", echoRequest("client", "vip", 56).withL4Error(5)),
		ping("echo with a wrong IP checksum is answered with the same error", echoRequest("client", "vip", 56).withIPError(9)),
		row{name: "XDP leaves the answer to TC where it may not transmit", tcOnly: true,
			change: func(s *state) { s.devices["client0"] = bpf.Device{} },
			in:     echoRequest("client", "vip", 56),
			out:    ping("", echoRequest("client", "vip", 56)).out},
		row{name: "XDP redirects the answer where XDP_TX wakes nobody", kicks: true,
			change: redirectOnly("client0"),
			in:     echoRequest("client", "vip", 56),
			out:    ping("", echoRequest("client", "vip", 56)).out},
	)
	runTable(t, rows)
}

// Where packets leave.
func TestNextHops(t *testing.T) {
	const client = "client:40000"
	to := func(port int) pkt { return tcpPacket(client, fmt.Sprintf("vip:%d", port), syn) }
	made := func(port int, backend string) []string {
		return pair("flows_new", "half-open", "tcp", client, fmt.Sprintf("vip:%d", port), "vip:40000", backend)
	}
	refused := func(name string, port int, backend string, reason bpf.Counter) row {
		return row{name: name, in: to(port), drop: reason, started: made(port, backend)}
	}
	narrow := pair("flows", "established", "tcp", client, "vip:85", "vip:40000", "narrow:8080")
	far := pair("flows", "established", "tcp", "far:7", "vip:80", "vip:7", "b1:8080")
	back := tcpPacket("b1:8080", "vip:7", ack)
	exact := tcpPacket(client, "vip:85", ack).withPayload(1360)
	segments := tcpPacket(client, "vip:85", ack).withPayload(3000)
	gso := func(name string, size uint32, out *pkt) row {
		return row{name: name, given: narrow, only: "tc", gso: size, in: segments, out: out}
	}
	unresolved := to(87)
	unresolved.src, unresolved.dst, unresolved.ttl = ap("vip:40000"), ap("nowhere:8080"), 63
	unresolved.smac, unresolved.dmac = macOf("client"), nicByName("client0").mac()
	rows := []row{
		refused("no route", 91, "lost:8080", bpf.DropNoRoute),
		refused("a blackhole route", 88, "hole:8080", bpf.DropBlackhole),
		refused("a prohibit route", 89, "prohibited:8080", bpf.DropProhibited),
		refused("an unreachable route", 90, "unreachable:8080", bpf.DropUnreachable),
		{name: "XDP leaves packets to TC for a device it may not transmit to", tcOnly: true,
			in: to(86), out: sent(to(86).nat("vip:40000", "slow:8080", "slow")), started: made(86, "slow:8080")},
		{name: "XDP leaves packets of a flow to TC for a device it may not transmit to", tcOnly: true,
			given: pair("flows", "established", "tcp", client, "vip:86", "vip:40000", "slow:8080"),
			in:    tcpPacket(client, "vip:86", ack),
			out:   sent(tcpPacket(client, "vip:86", ack).nat("vip:40000", "slow:8080", "slow"))},
		{name: "without a neighbour XDP passes and TC lets the kernel resolve it", tcOnly: true,
			in: to(87), out: &unresolved, started: made(87, "nowhere:8080")},
		{name: "a client behind a gateway: the answer goes to the gateway", given: far, from: "server0",
			in: back, out: sent(back.nat("vip:80", "far:7", "gateway"))},
		{name: "a packet as long as the MTU", given: narrow, in: exact, out: sent(exact.nat("vip:40000", "narrow:8080", "narrow"))},
		{name: "padding does not count against the MTU", given: narrow, in: exact.padded(1500),
			out: sent(exact.padded(1500).nat("vip:40000", "narrow:8080", "narrow"))},
		gso("a GSO packet whose segments fit the MTU", 1360, sent(segments.nat("vip:40000", "narrow:8080", "narrow"))),
		{name: "an answer leaves by the device it came from", given: pair("flows", "established", "tcp", "b2:7", "vip:80", "vip:7", "b1:8080"),
			from: "server0", in: back, out: sent(back.nat("vip:80", "b2:7", "b2"))},
		{name: "the same by redirect where XDP_TX wakes nobody", change: redirectOnly("server0"), kicks: true,
			given: pair("flows", "established", "tcp", "b2:7", "vip:80", "vip:7", "b1:8080"),
			from:  "server0", in: back, out: sent(back.nat("vip:80", "b2:7", "b2"))},
		{name: "a client that is a backend of the service is balanced too", from: "server0",
			in: tcpPacket("b2:7", "vip:80", syn), out: sent(tcpPacket("b2:7", "vip:80", syn).nat("vip:7", "b1:8080", "b1")),
			started: pair("flows_new", "half-open", "tcp", "b2:7", "vip:80", "vip:7", "b1:8080")},
		{name: "a backend that opens a connection to its own service is balanced too", from: "server0",
			in: tcpPacket("b1:7", "vip:80", syn), out: sent(tcpPacket("b1:7", "vip:80", syn).nat("vip:7", "b1:8080", "b1")),
			started: pair("flows_new", "half-open", "tcp", "b1:7", "vip:80", "vip:7", "b1:8080")},
	}
	runTable(t, rows)
}
