package packettest

import (
	"fmt"
	"testing"
)

// modeCase is one mode and protocol: what a client's packet becomes.
type modeCase struct {
	mode, proto               string
	frontend, source, backend string
}

func modeCases() []modeCase {
	var cases []modeCase
	backends := map[string]string{"tcp": "b1:8080", "udp": "b1:5353", "sctp": "b1:9998"}
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		ports := map[string][3]int{"tcp": {fullnatTCP, defaultTCP, onearmTCP},
			"udp": {fullnatUDP, defaultUDP, onearmUDP}, "sctp": {fullnatSCTP, defaultSCTP, onearmSCTP}}[proto]
		cases = append(cases,
			modeCase{"fullnat", proto, fmt.Sprintf("vip:%d", ports[0]), "vip:40000", backends[proto]},
			modeCase{"default", proto, fmt.Sprintf("vip:%d", ports[1]), "client:40000", backends[proto]},
			modeCase{"onearm", proto, fmt.Sprintf("vip:%d", ports[2]), "lb:40000", backends[proto]})
	}
	return cases
}

func (c modeCase) first(src, dst string) pkt {
	switch c.proto {
	case "tcp":
		return tcpPacket(src, dst, syn).withTCPOptions(2, 4, 5, 0xb4)
	case "udp":
		return udpPacket(src, dst, "hello")
	}
	return sctpPacket(src, dst, chunkInit)
}

func (c modeCase) answer(src, dst string) pkt {
	switch c.proto {
	case "tcp":
		return tcpPacket(src, dst, syn|ack)
	case "udp":
		return udpPacket(src, dst, "hello yourself")
	}
	return sctpPacket(src, dst, chunkInitAck)
}

func (c modeCase) data(src, dst string) pkt {
	switch c.proto {
	case "tcp":
		return tcpPacket(src, dst, ack|psh).withPayload(501)
	case "udp":
		return udpPacket(src, dst, "").withPayload(333)
	}
	return sctpPacket(src, dst, chunkData).withPayload(257)
}

// afterAnswer returns the entries when the backend has answered. In UDP that is all
// that shows a connection.
func (c modeCase) afterAnswer(halfOpen, leftover, established []string) []string {
	if c.proto == "udp" {
		return both(leftover, established)
	}
	return answered(halfOpen)
}

// afterAcknowledgement returns them when the client has spoken after that: in SCTP
// the backend must accept it first.
func (c modeCase) afterAcknowledgement(halfOpen, leftover, established []string) []string {
	switch c.proto {
	case "udp":
		return both(leftover, established)
	case "sctp":
		return answered(halfOpen)
	}
	return both(answered(leftover), established)
}

// Every mode with every protocol: a flow is made, promoted, used both ways.
func TestModes(t *testing.T) {
	const client = "client:40000"
	var rows []row
	for _, c := range modeCases() {
		name := c.mode + " " + c.proto + ": "
		halfOpen := pair("flows_new", "half-open", c.proto, client, c.frontend, c.source, c.backend)
		leftover := pair("flows_new", "established", c.proto, client, c.frontend, c.source, c.backend)
		established := pair("flows", "established", c.proto, client, c.frontend, c.source, c.backend)
		rows = append(rows,
			row{name: name + "a first packet makes both entries and goes to the backend",
				in:      c.first(client, c.frontend),
				out:     sent(c.first(client, c.frontend).nat(c.source, c.backend, "b1")),
				started: halfOpen},
			row{name: name + "a first packet that is sent again takes the same way",
				given: halfOpen,
				in:    c.first(client, c.frontend),
				out:   sent(c.first(client, c.frontend).nat(c.source, c.backend, "b1"))},
			row{name: name + "the first answer goes to the client",
				given: halfOpen, from: "server0",
				in:      c.answer(c.backend, c.source),
				out:     sent(c.answer(c.backend, c.source).nat(c.frontend, client, "client")),
				entries: c.afterAnswer(halfOpen, leftover, established)},
			row{name: name + "what the client sends then goes to the backend, and promotes a TCP flow",
				given:   c.afterAnswer(halfOpen, leftover, established),
				in:      c.data(client, c.frontend),
				out:     sent(c.data(client, c.frontend).nat(c.source, c.backend, "b1")),
				entries: c.afterAcknowledgement(halfOpen, leftover, established)},
			row{name: name + "data of an established flow go to the backend",
				given: established,
				in:    c.data(client, c.frontend),
				out:   sent(c.data(client, c.frontend).nat(c.source, c.backend, "b1"))},
			row{name: name + "data of an established flow go back to the client",
				given: established, from: "server0",
				in:  c.data(c.backend, c.source),
				out: sent(c.data(c.backend, c.source).nat(c.frontend, client, "client"))},
		)
	}
	runTable(t, rows)
}

// Sizes, padding and options must not disturb the rewrite or the checksums.
func TestShapes(t *testing.T) {
	const client, vip = "client:40000", "vip:80"
	tcpFlow := pair("flows", "established", "tcp", client, vip, "vip:40000", "b1:8080")
	moved := pair("flows", "established", "tcp", client, vip, "vip:50000", "b1:8080")
	udpFlow := pair("flows", "established", "udp", client, "vip:53", "vip:40000", "b1:5353")
	sctpFlow := pair("flows", "established", "sctp", client, "vip:9999", "vip:40000", "b1:9998")
	forward := func(name string, given []string, in pkt, src, dst string) row {
		return row{name: name, given: given, in: in, out: sent(in.nat(src, dst, "b1"))}
	}
	data := func(size int) pkt { return tcpPacket(client, vip, ack).withPayload(size) }
	rows := []row{
		forward("TCP without payload", tcpFlow, data(0), "vip:40000", "b1:8080"),
		forward("TCP without payload, padded to 60 bytes", tcpFlow, data(0).padded(60), "vip:40000", "b1:8080"),
		forward("TCP with an odd payload", tcpFlow, data(1), "vip:40000", "b1:8080"),
		forward("TCP with a full segment", tcpFlow, data(1460), "vip:40000", "b1:8080"),
		forward("TCP with 3 400 bytes", tcpFlow, data(3360), "vip:40000", "b1:8080"),
		forward("TCP whose source port has been moved", moved, data(100), "vip:50000", "b1:8080"),
		forward("TCP with time stamps", tcpFlow, data(9).withTCPOptions(8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0), "vip:40000", "b1:8080"),
		forward("TCP with 4 bytes of IP options", tcpFlow, data(33).withIPOptions(148, 4, 0, 0), "vip:40000", "b1:8080"),
		forward("TCP with 40 bytes of IP options", tcpFlow,
			data(33).withIPOptions(append([]byte{7, 40, 4}, make([]byte, 37)...)...), "vip:40000", "b1:8080"),
		forward("TCP with a DSCP", tcpFlow, data(10).withTOS(0xb8), "vip:40000", "b1:8080"),
		forward("TCP with don't fragment", tcpFlow, data(10).withFragment(0x4000), "vip:40000", "b1:8080"),
		forward("UDP without payload, padded", udpFlow, udpPacket(client, "vip:53", "").padded(60), "vip:40000", "b1:5353"),
		forward("UDP with one byte, padded", udpFlow, udpPacket(client, "vip:53", "x").padded(60), "vip:40000", "b1:5353"),
		forward("UDP with IP options", udpFlow, udpPacket(client, "vip:53", "x").withIPOptions(148, 4, 0, 0), "vip:40000", "b1:5353"),
		forward("UDP with a full datagram", udpFlow, udpPacket(client, "vip:53", "").withPayload(1472), "vip:40000", "b1:5353"),
	}
	sctpData := sctpPacket(client, "vip:9999", chunkData)
	for _, size := range []int{4, 5, 64, 100, 101, 110, 111, 112, 1000, 1400, 3400} {
		rows = append(rows, forward(fmt.Sprintf("SCTP with %d bytes of data", size), sctpFlow,
			sctpData.withPayload(size), "vip:40000", "b1:9998"))
	}
	for _, size := range []int{4100, 6000, 8972, 9000, 16400, 40000} {
		r := forward(fmt.Sprintf("SCTP with %d bytes of data in a jumbo frame", size), sctpFlow,
			sctpData.withPayload(size), "vip:40000", "b1:9998")
		rows = append(rows, r)
	}
	rows = append(rows,
		forward("TCP in a jumbo frame", tcpFlow, data(8960), "vip:40000", "b1:8080"),
		forward("UDP in a jumbo frame", udpFlow, udpPacket(client, "vip:53", "").withPayload(8972), "vip:40000", "b1:5353"),
		forward("SCTP without data, padded to 60 bytes: the CRC ends where the packet ends", sctpFlow,
			sctpPacket(client, "vip:9999", 4).padded(60), "vip:40000", "b1:9998"),
		forward("SCTP padded far beyond its end", sctpFlow, sctpPacket(client, "vip:9999", 4).padded(200), "vip:40000", "b1:9998"),
		forward("SCTP with IP options", sctpFlow, sctpData.withPayload(40).withIPOptions(148, 4, 0, 0), "vip:40000", "b1:9998"),
	)
	sctpDefault := pair("flows", "established", "sctp", client, "vip:9001", client, "b1:9001")
	rows = append(rows, forward("SCTP whose ports stay: the CRC stays", sctpDefault,
		sctpPacket(client, "vip:9001", chunkData).withPayload(64), client, "b1:9001"))
	runTable(t, rows)
}

// What came in wrong goes out wrong, by the same error.
func TestWrongChecksums(t *testing.T) {
	const client = "client:40000"
	tcpFlow := pair("flows", "established", "tcp", client, "vip:80", "vip:50000", "b1:8080")
	udpFlow := pair("flows", "established", "udp", client, "vip:53", "vip:50000", "b1:5353")
	sctpFlow := pair("flows", "established", "sctp", client, "vip:9999", "vip:50000", "b1:9998")
	row1 := func(name string, given []string, in pkt, dst string) row {
		return row{name: name, given: given, in: in, out: sent(in.nat("vip:50000", dst, "b1"))}
	}
	data := tcpPacket(client, "vip:80", ack).withPayload(100)
	datagram := udpPacket(client, "vip:53", "datagram")
	chunk := sctpPacket(client, "vip:9999", chunkData).withPayload(1000)
	rows := []row{
		row1("IP checksum off by one", tcpFlow, data.withIPError(1), "b1:8080"),
		row1("IP checksum off by a lot", tcpFlow, data.withIPError(0xabcd), "b1:8080"),
		row1("TCP checksum off by one", tcpFlow, data.withL4Error(1), "b1:8080"),
		row1("TCP checksum off by a lot", tcpFlow, data.withL4Error(0x8765), "b1:8080"),
		row1("UDP checksum off by one", udpFlow, datagram.withL4Error(1), "b1:5353"),
		row1("UDP without checksum gets none", udpFlow, datagram.withoutSum(), "b1:5353"),
		row1("UDP without checksum and with an IP error", udpFlow, datagram.withoutSum().withIPError(3), "b1:5353"),
		row1("SCTP CRC with one bit flipped", sctpFlow, chunk.withL4Error(1<<17), "b1:9998"),
		row1("SCTP CRC with all bits flipped", sctpFlow, chunk.withL4Error(0xffffffff), "b1:9998"),
		row1("SCTP CRC wrong in a jumbo frame", sctpFlow, chunk.withPayload(8000).withL4Error(0x1234), "b1:9998"),
		row1("TCP sum of a SYN of a known flow stays wrong", tcpFlow, tcpPacket(client, "vip:80", syn).withL4Error(7), "b1:8080"),
	}
	becomes := findPayload(t, func(p pkt) []byte { return p.nat("vip:50000", "b1:5353", "b1").bytes() })
	was := findPayload(t, func(p pkt) []byte { return p.withMACs(macOf("client"), macOf("client")).bytes() })
	rows = append(rows,
		row1("UDP checksum that becomes 0 goes out as 0xffff", udpFlow, becomes, "b1:5353"),
		row1("UDP checksum that was 0xffff is a checksum", udpFlow, was, "b1:5353"))
	pending := row1("SCTP CRC left to the device stays 0 in TC", sctpFlow, chunk.with(14+20+8, 0, 0, 0, 0), "b1:9998")
	pending.only = "tc"
	rows = append(rows, pending)
	runTable(t, rows)
}

// findPayload returns a datagram whose frame, as view makes it, has the checksum
// 0xffff: the sum is 0, which in UDP would say that there is none.
func findPayload(t *testing.T, view func(pkt) []byte) pkt {
	t.Helper()
	p := udpPacket("client:40000", "vip:53", "")
	for word := range 0x10000 {
		p.payload = []byte{byte(word >> 8), byte(word)}
		if frame := view(p); frame[40] == 0xff && frame[41] == 0xff {
			return p
		}
	}
	t.Fatal("no payload makes the checksum 0")
	return p
}
