package packettest

import (
	"fmt"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// byHash has all frontends choose by hash.
func byHash(s *state) {
	for _, f := range s.frontends {
		s.algorithms[f.port] = bpf.AlgorithmHash
	}
}

// standby is byHash on a node that is not the active one.
func standby(s *state) {
	byHash(s)
	s.vips["vip"] = bpf.VIP{PortMin: 50000, PortMax: 50099}
}

// Connections that another node began go on here where backends are chosen by hash.
func TestMidstream(t *testing.T) {
	const client, backend = "client:40000", "b1:8080"
	data := tcpPacket(client, "vip:80", ack|psh).withPayload(10)
	last := tcpPacket(client, "vip:80", fin|ack)
	var rows []row
	goesOn := func(name string, change func(*state), in pkt, source, backend string) {
		proto := map[uint8]string{tcp: "tcp", sctp: "sctp"}[in.proto]
		rows = append(rows, row{name: name, change: change, in: in, out: sent(in.nat(source, backend, "b1")),
			started: pair("flows_new", "half-open", proto, client, fmt.Sprintf("vip:%d", in.dst.Port()), source, backend)})
	}
	goesOn("fullnat: data", byHash, data, "vip:40000", backend)
	goesOn("fullnat: an ACK alone", byHash, tcpPacket(client, "vip:80", ack), "vip:40000", backend)
	goesOn("fullnat: the client's FIN", byHash, last, "vip:40000", backend)
	goesOn("fullnat: a standby keeps the port too, which the active node gave", standby, data, "vip:40000", backend)
	goesOn("default: data", byHash, tcpPacket(client, "vip:81", ack|psh), client, backend)
	goesOn("SCTP: data", byHash, sctpPacket(client, "vip:9999", chunkData), "vip:40000", "b1:9998")
	goesOn("SCTP: a cookie that another node brought", byHash, sctpPacket(client, "vip:9999", chunkCookieEcho), "vip:40000", "b1:9998")
	goesOn("SCTP: SHUTDOWN", byHash, sctpPacket(client, "vip:9001", chunkShutdown), client, "b1:9998")

	dropped := func(name string, change func(*state), in pkt) {
		rows = append(rows, row{name: name, change: change, in: in, drop: bpf.DropNoFlow})
	}
	dropped("round robin: data", nil, data)
	dropped("round robin: SCTP data", nil, sctpPacket(client, "vip:9999", chunkData))
	dropped("no service: data", byHash, tcpPacket(client, "vip:4444", ack))
	dropped("no backend: data are no more answered than elsewhere", byHash, tcpPacket(client, "vip:84", ack))
	dropped("RST", byHash, tcpPacket(client, "vip:80", rst))
	dropped("RST and ACK", byHash, tcpPacket(client, "vip:80", rst|ack))
	dropped("SYN and ACK", byHash, tcpPacket(client, "vip:80", syn|ack))
	dropped("SYN, FIN and ACK", byHash, tcpPacket(client, "vip:80", syn|fin|ack))
	dropped("FIN alone", byHash, tcpPacket(client, "vip:80", fin))
	dropped("no flag at all", byHash, tcpPacket(client, "vip:80", 0))
	dropped("ABORT", byHash, sctpPacket(client, "vip:9999", chunkAbort))
	dropped("SHUTDOWN COMPLETE", byHash, sctpPacket(client, "vip:9999", chunkShutdownComplete))
	dropped("INIT ACK", byHash, sctpPacket(client, "vip:9999", chunkInitAck))
	dropped("an INIT with a verification tag", byHash, sctpPacket(client, "vip:9999", chunkInit).withVtag(9))
	dropped("onearm: the other node had another source", byHash, tcpPacket(client, "vip:82", ack))
	dropped("fullnat to another LB node: the same", byHash, tcpPacket(client, "vip:74", ack))
	dropped("a backend on this node: the same", byHash, tcpPacket(client, "vip:70", ack))
	dropped("the client's port is a frontend, and so never the VIP's", byHash, tcpPacket("client:80", "vip:80", ack))

	for _, answer := range []pkt{
		tcpPacket(backend, "vip:80", ack|psh), tcpPacket(backend, "vip:40000", ack|psh), sctpPacket("b1:9998", "vip:9999", chunkData),
	} {
		rows = append(rows, row{name: fmt.Sprintf("a backend's answer to port %d, whose flow is another node's", answer.dst.Port()), change: byHash, from: "server0",
			in: answer, drop: bpf.DropNoFlow})
	}
	taken := pair("flows", "established", "tcp", "client2:40000", "vip:80", "vip:40000", backend)
	rows = append(rows,
		row{name: "another client has the port here: no other one will do", change: byHash, given: taken, in: data, drop: bpf.DropNoFlow},
		row{name: "a client out of the source ranges", change: func(s *state) { byHash(s); s.sources[80] = []string{"198.18.0.0/15"} },
			in: data, drop: bpf.DropSourceRange},
		row{name: "clients that keep their backend are picked up too", change: func(s *state) { byHash(s); s.affinity[80] = 60 },
			in: data, out: sent(data.nat("vip:40000", backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", client, "vip:80", "vip:40000", backend)})
	runTable(t, rows)
}

// What was picked up is half-open until both ends have spoken, as any other flow.
func TestMidstreamIsPromoted(t *testing.T) {
	const client, vip, source, backend = "client:40000", "vip:80", "vip:40000", "b1:8080"
	halfOpen := pair("flows_new", "half-open", "tcp", client, vip, source, backend)
	leftover := pair("flows_new", "established", "tcp", client, vip, source, backend)
	refused := pair("flows_new", "closing", "tcp", client, vip, source, backend)
	data, answer, reset := tcpPacket(client, vip, ack|psh), tcpPacket(backend, source, ack|psh), tcpPacket(backend, source, rst)
	toClient := func(p pkt) *pkt { return sent(p.nat(vip, client, "client")) }

	const sctpVIP, sctpBackend = "vip:9999", "b1:9998"
	association := pair("flows_new", "half-open", "sctp", client, sctpVIP, source, sctpBackend)
	stands := both(pair("flows", "established", "sctp", client, sctpVIP, source, sctpBackend),
		pair("flows_new", "established", "sctp", client, sctpVIP, source, sctpBackend))
	rows := []row{
		{name: "the backend's answer alone promotes no TCP flow", given: halfOpen, from: "server0", in: answer, out: toClient(answer), entries: answered(halfOpen)},
		{name: "what the client says then promotes it", given: answered(halfOpen), in: data, out: sent(data.nat(source, backend, "b1")),
			entries: both(answered(leftover), pair("flows", "established", "tcp", client, vip, source, backend))},
		{name: "a backend that knows no such connection promotes nothing", given: halfOpen, from: "server0", in: reset, out: toClient(reset), entries: refused},
	}
	for name, chunk := range map[string]uint8{"SACK": chunkSack, "data": chunkData, "SHUTDOWN": chunkShutdown} {
		p := sctpPacket(sctpBackend, source, chunk)
		rows = append(rows, row{name: "the backend's " + name + " promote an association", given: association, from: "server0", in: p,
			out: sent(p.nat(sctpVIP, client, "client")), entries: stands})
	}
	abort := sctpPacket(sctpBackend, source, chunkAbort)
	rows = append(rows, row{name: "its ABORT promotes nothing", given: association, from: "server0", in: abort,
		out: sent(abort.nat(sctpVIP, client, "client")), entries: pair("flows_new", "closing", "sctp", client, sctpVIP, source, sctpBackend)})
	runTable(t, rows)
}
