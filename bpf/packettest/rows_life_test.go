package packettest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// How flows are made, found, closed and made again.
func TestLife(t *testing.T) {
	const client, vip, source, backend = "client:40000", "vip:80", "vip:40000", "b1:8080"
	halfOpen := pair("flows_new", "half-open", "tcp", client, vip, source, backend)
	leftover := pair("flows_new", "established", "tcp", client, vip, source, backend)
	established := pair("flows", "established", "tcp", client, vip, source, backend)
	closing := pair("flows", "closing", "tcp", client, vip, source, backend)
	other := pair("flows", "established", "tcp", "client2:40000", vip, source, backend)
	otherClosing := pair("flows", "closing", "tcp", "client2:40000", vip, source, backend)
	otherLeftover := pair("flows_new", "established", "tcp", "client2:40000", vip, source, backend)
	refused := pair("flows_new", "closing", "tcp", client, vip, source, backend)
	first := tcpPacket(client, vip, syn)
	data := tcpPacket(client, vip, ack).withPayload(10)
	answer := tcpPacket(backend, source, syn|ack)
	fromServer := tcpPacket(backend, source, ack|psh).withPayload(10)
	toBackend := func(p pkt) *pkt { return sent(p.nat(source, backend, "b1")) }
	toClient := func(p pkt) *pkt { return sent(p.nat(vip, client, "client")) }

	runTable(t, []row{
		{name: "a forward entry whose reply entry the LRU evicted gets it back",
			given: halfOpen[:1], in: first, out: toBackend(first), entries: halfOpen},
		{name: "an orphaned reply entry of the same client is reused",
			given: halfOpen[1:], in: first, out: toBackend(first), entries: halfOpen},
		{name: "an orphaned reply entry in flows gets its pair back there",
			given: established[1:], in: first, out: toBackend(first), entries: established},
		{name: "an answer whose forward entry the LRU evicted restores it",
			given: halfOpen[1:], from: "server0", in: answer, out: toClient(answer), entries: answered(halfOpen)},
		{name: "an answer that is sent again changes nothing",
			given: answered(halfOpen), from: "server0", in: answer, out: toClient(answer)},
		{name: "the client's acknowledgement of the answer promotes the flow",
			given: answered(halfOpen), in: tcpPacket(client, vip, ack), out: toBackend(tcpPacket(client, vip, ack)),
			entries: both(answered(leftover), established)},
		{name: "an acknowledgement whose reply entry the LRU evicted promotes both",
			given: answered(halfOpen)[:1], in: tcpPacket(client, vip, ack), out: toBackend(tcpPacket(client, vip, ack)),
			entries: both(answered(leftover), established)},
		{name: "data promote the flow where the acknowledgement was lost",
			given: answered(halfOpen), in: data, out: toBackend(data), entries: both(answered(leftover), established)},
		{name: "a FIN promotes the flow where the acknowledgement was lost, and marks its direction",
			given: answered(halfOpen), in: tcpPacket(client, vip, fin|ack), out: toBackend(tcpPacket(client, vip, fin|ack)),
			entries: both(answered(leftover), []string{established[0] + " fin", established[1]})},
		{name: "a FIN of the backend before the acknowledgement is not forgotten",
			given: []string{halfOpen[0] + " answered", halfOpen[1] + " fin"}, in: data, out: toBackend(data),
			entries: both([]string{leftover[0] + " answered", leftover[1] + " fin"}, []string{established[0], established[1] + " fin"})},
		{name: "a SYN that is sent again after the answer promotes nothing",
			given: answered(halfOpen), in: first, out: toBackend(first)},
		{name: "a forged client's RST in answer to the answer promotes nothing and frees the tuple",
			given: answered(halfOpen), in: tcpPacket(client, vip, rst), out: toBackend(tcpPacket(client, vip, rst)),
			entries: answered(refused)},
		{name: "what the backend sends before the acknowledgement promotes nothing",
			given: answered(halfOpen), from: "server0", in: fromServer, out: toClient(fromServer)},
		{name: "a SYN that finds what a flow left that is over gets a new backend",
			given: pair("flows_new", "established", "tcp", client, vip, source, "b2:8080"), in: first, out: toBackend(first), entries: halfOpen},
		{name: "a client's packet that finds what a promoted flow left goes by flows",
			given: both(leftover, established[1:]), in: data, out: toBackend(data), entries: both(leftover, established)},
		{name: "an answer that finds what a promoted flow left goes by flows",
			given: both(leftover, established[:1]), from: "server0", in: fromServer, out: toClient(fromServer),
			entries: both(leftover, established)},
		{name: "an acknowledgement of a flow whose tuple has become another's is no flow's",
			given: both(answered(halfOpen)[:1], other), in: data, drop: bpf.DropNoFlow, entries: other},
		{name: "an answer of a promoted flow finds flows first",
			given: both(leftover, established), from: "server0", in: answer, out: toClient(answer)},
		{name: "an answer to a reply entry whose client has moved on is no flow's",
			given: both(halfOpen[1:], pair("flows_new", "half-open", "tcp", client, vip, source, "b2:8080")),
			from:  "server0", in: answer, drop: bpf.DropNoFlow},
		{name: "an answer to a reply entry whose client has moved on and is established is no flow's",
			given: both(halfOpen[1:], pair("flows", "established", "tcp", client, vip, source, "b2:8080")),
			from:  "server0", in: answer, drop: bpf.DropNoFlow},
		{name: "a half-open entry whose tuple has become another's is void, and the SYN gets a new one",
			given: both(halfOpen[:1], other), in: first,
			out:     sent(first.nat(movedSource, backend, "b1")),
			entries: both(other, pair("flows_new", "half-open", "tcp", client, vip, movedSource, backend))},
		{name: "data of a half-open entry whose tuple has become another's are no flow's",
			given: both(halfOpen[:1], other), in: data, drop: bpf.DropNoFlow, entries: other},

		{name: "a refusal goes to the client and promotes nothing",
			given: halfOpen, from: "server0", in: tcpPacket(backend, source, rst|ack),
			out: toClient(tcpPacket(backend, source, rst|ack)), entries: refused},
		{name: "a refused client that tries again gets a new decision",
			given: refused, in: first, out: toBackend(first), entries: halfOpen},
		{name: "what comes after a refusal promotes nothing",
			given: refused, from: "server0", in: answer, out: toClient(answer)},
		{name: "a SYN of an established flow goes to its backend",
			given: established, in: first, out: toBackend(first)},
		{name: "data go on while a flow is half-open",
			given: halfOpen, in: data, out: toBackend(data)},

		{name: "the client's FIN marks its direction",
			given: established, in: tcpPacket(client, vip, fin|ack), out: toBackend(tcpPacket(client, vip, fin|ack)),
			entries: []string{established[0] + " fin", established[1]}},
		{name: "the backend's FIN marks its direction",
			given: established, from: "server0", in: tcpPacket(backend, source, fin|ack),
			out: toClient(tcpPacket(backend, source, fin|ack)), entries: []string{established[0], established[1] + " fin"}},
		{name: "the second FIN closes the flow",
			given: []string{established[0] + " fin", established[1]}, from: "server0", in: tcpPacket(backend, source, fin|ack),
			out: toClient(tcpPacket(backend, source, fin|ack)), entries: []string{closing[0] + " fin", closing[1] + " fin"}},
		{name: "a FIN that is sent again changes nothing",
			given: []string{established[0] + " fin", established[1]}, in: tcpPacket(client, vip, fin|ack),
			out: toBackend(tcpPacket(client, vip, fin|ack))},
		{name: "the last acknowledgement passes a closed flow",
			given: closing, in: tcpPacket(client, vip, ack), out: toBackend(tcpPacket(client, vip, ack))},
		{name: "the client's RST closes both directions",
			given: established, in: tcpPacket(client, vip, rst), out: toBackend(tcpPacket(client, vip, rst)), entries: closing},
		{name: "the backend's RST closes both directions",
			given: established, from: "server0", in: tcpPacket(backend, source, rst),
			out: toClient(tcpPacket(backend, source, rst)), entries: closing},
		{name: "the first FIN leaves what the promotion left",
			given: both(established, leftover), in: tcpPacket(client, vip, fin|ack), out: toBackend(tcpPacket(client, vip, fin|ack)),
			entries: both([]string{established[0] + " fin", established[1]}, leftover)},
		{name: "the backend's FIN, the second, takes what the promotion left",
			given: both([]string{established[0] + " fin", established[1]}, leftover), from: "server0", in: tcpPacket(backend, source, fin|ack),
			out: toClient(tcpPacket(backend, source, fin|ack)), entries: []string{closing[0] + " fin", closing[1] + " fin"}},
		{name: "the client's FIN, the second, takes what the promotion left",
			given: both([]string{established[0], established[1] + " fin"}, leftover), in: tcpPacket(client, vip, fin|ack),
			out: toBackend(tcpPacket(client, vip, fin|ack)), entries: []string{closing[0] + " fin", closing[1] + " fin"}},
		{name: "a RST takes what the promotion left",
			given: both(established, leftover), in: tcpPacket(client, vip, rst), out: toBackend(tcpPacket(client, vip, rst)), entries: closing},
		{name: "a connection that ends leaves what is half-open again",
			given: both(established, halfOpen), in: tcpPacket(client, vip, rst), out: toBackend(tcpPacket(client, vip, rst)),
			entries: both(closing, halfOpen)},
		{name: "a connection that ends leaves what another one has left under its tuple",
			given: both(established, otherLeftover[1:]), in: tcpPacket(client, vip, rst), out: toBackend(tcpPacket(client, vip, rst)),
			entries: both(closing, otherLeftover[1:])},
		{name: "a connection that ends leaves what another CPU is taking over",
			given: both(established, []string{leftover[0] + " taken"}), in: tcpPacket(client, vip, rst), out: toBackend(tcpPacket(client, vip, rst)),
			entries: both(closing, []string{leftover[0] + " taken"})},

		{name: "a client that comes back from the same port gets a new flow",
			given: both(closing, leftover), in: first, out: toBackend(first), entries: halfOpen},
		{name: "a client that comes back while another CPU renews the flow must repeat",
			given: []string{closing[0] + " taken", closing[1]}, in: first, drop: bpf.DropContended},

		{name: "a closed flow's tuple is taken over at once",
			given: otherClosing, in: first, out: toBackend(first), entries: halfOpen},
		{name: "a closed flow's tuple is taken over, what it left in flows_new too",
			given: both(otherClosing, otherLeftover), in: first, out: toBackend(first),
			entries: both(halfOpen, otherLeftover[:1])},
		{name: "what a swept flow left in flows_new is taken over",
			given: otherLeftover, in: first, out: toBackend(first), entries: both(halfOpen, otherLeftover[:1])},
		{name: "the tuple of a refused flow is taken over",
			given: pair("flows_new", "closing", "tcp", "client2:40000", vip, source, backend),
			in:    first, out: toBackend(first),
			entries: both(halfOpen, pair("flows_new", "closing", "tcp", "client2:40000", vip, source, backend)[:1])},
		{name: "a tuple that another CPU is taking over is left alone",
			given: []string{otherClosing[1] + " taken"}, in: first, out: sent(first.nat(movedSource, backend, "b1")),
			entries: both([]string{otherClosing[1] + " taken"},
				pair("flows_new", "half-open", "tcp", client, vip, movedSource, backend))},
		{name: "a flow that is closed in flows_new alone lives on in flows",
			given: both(other, pair("flows_new", "closing", "tcp", "client2:40000", vip, source, backend)),
			in:    first, out: sent(first.nat(movedSource, backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", client, vip, movedSource, backend)},
	})
}

// movedSource is the first port of the sequence that client:40000 gets at vip:80
// when its own is taken. Any other is as good; changing it loses no connection.
const movedSource = "vip:23503"

// SCTP associations open and close by their chunks.
func TestLifeSCTP(t *testing.T) {
	const client, vip, source, backend = "client:40000", "vip:9999", "vip:40000", "b1:9998"
	halfOpen := pair("flows_new", "half-open", "sctp", client, vip, source, backend)
	established := pair("flows", "established", "sctp", client, vip, source, backend)
	closing := pair("flows", "closing", "sctp", client, vip, source, backend)
	rows := []row{}
	for _, c := range []struct {
		name  string
		chunk uint8
		after []string
	}{
		{"ABORT closes the flow", chunkAbort, closing},
		{"SHUTDOWN COMPLETE closes the flow", chunkShutdownComplete, closing},
		{"SHUTDOWN does not close the flow yet", chunkShutdown, established},
		{"SACK changes nothing", chunkSack, established},
	} {
		p := sctpPacket(client, vip, c.chunk)
		rows = append(rows, row{name: c.name, given: established, in: p,
			out: sent(p.nat(source, backend, "b1")), entries: c.after})
	}
	leftover := pair("flows_new", "established", "sctp", client, vip, source, backend)
	abort, cookieAck := sctpPacket(backend, source, chunkAbort), sctpPacket(backend, source, chunkCookieAck)
	initiate, cookieEcho := sctpPacket(client, vip, chunkInit), sctpPacket(client, vip, chunkCookieEcho)
	rows = append(rows,
		row{name: "an ABORT in answer to INIT promotes nothing", given: halfOpen, from: "server0", in: abort,
			out:     sent(abort.nat(vip, client, "client")),
			entries: pair("flows_new", "closing", "sctp", client, vip, source, backend)},
		row{name: "COOKIE ECHO after INIT ACK promotes nothing: it may be forged", given: answered(halfOpen), in: cookieEcho,
			out: sent(cookieEcho.nat(source, backend, "b1"))},
		row{name: "COOKIE ACK promotes the flow", given: answered(halfOpen), from: "server0", in: cookieAck,
			out:     sent(cookieAck.nat(vip, client, "client")),
			entries: both(established, answered(leftover))},
		row{name: "COOKIE ACK promotes a flow whose client's entry the LRU has evicted", given: halfOpen[1:], from: "server0", in: cookieAck,
			out:     sent(cookieAck.nat(vip, client, "client")),
			entries: both(established, leftover[1:])},
		row{name: "a client's COOKIE ACK promotes nothing", given: answered(halfOpen), in: sctpPacket(client, vip, chunkCookieAck),
			out: sent(sctpPacket(client, vip, chunkCookieAck).nat(source, backend, "b1"))},
		row{name: "a refused association's COOKIE ACK promotes nothing", from: "server0", in: cookieAck,
			given: pair("flows_new", "closing", "sctp", client, vip, source, backend), out: sent(cookieAck.nat(vip, client, "client"))},
		row{name: "COOKIE ACK of an established association changes nothing", given: established, from: "server0", in: cookieAck,
			out: sent(cookieAck.nat(vip, client, "client"))},
		row{name: "an INIT that is sent again after INIT ACK promotes nothing", given: answered(halfOpen), in: initiate,
			out: sent(initiate.nat(source, backend, "b1"))},
		row{name: "an INIT after the association's end makes a new flow", given: closing, in: initiate,
			out: sent(initiate.nat(source, backend, "b1")), entries: halfOpen},
		row{name: "an INIT with a verification tag is no first packet", in: initiate.withVtag(9), drop: bpf.DropNoFlow},
		row{name: "data without an association are no flow's", in: sctpPacket(client, vip, chunkData), drop: bpf.DropNoFlow},
		row{name: "COOKIE ECHO without an association is no flow's", in: sctpPacket(client, vip, chunkCookieEcho), drop: bpf.DropNoFlow},
	)
	runTable(t, rows)
}

// Address lists in INIT and INIT ACK become padding; all else stays.
func TestAddresses(t *testing.T) {
	const client, vip, source, backend = "client:40000", "vip:9999", "vip:40000", "b1:9998"
	v4 := []byte{0, 5, 0, 8, 192, 0, 2, 99}
	v6 := append([]byte{0, 6, 0, 20}, make([]byte, 16)...)
	hostname := []byte{0, 11, 0, 9, 'h', 'o', 's', 't', 0, 0, 0, 0}
	cookie := []byte{0, 7, 0, 12, 0, 5, 0, 8, 1, 2, 3, 4} // what looks like an address is in its value
	supported := []byte{0, 12, 0, 6, 0, 5, 0, 0}
	hidden := func(parameter []byte) []byte { return append([]byte{0x80, 0x05}, parameter[2:]...) }
	list := func(n int, parameter []byte) []byte { return bytes.Repeat(parameter, n) }

	halfOpen := pair("flows_new", "half-open", "sctp", client, vip, source, backend)
	initiate := func(parameters ...[]byte) pkt {
		return sctpPacket(client, vip, chunkInit).withParameters(slices.Concat(parameters...)...)
	}
	accept := func(parameters ...[]byte) pkt {
		return sctpPacket(backend, source, chunkInitAck).withParameters(slices.Concat(parameters...)...)
	}
	made := func(name string, in, out pkt) row {
		return row{name: name, in: in, out: sent((&row{in: out}).arrives().nat(source, backend, "b1")), started: halfOpen}
	}
	bad := func(name string, in pkt) row {
		return row{name: name, in: in, drop: bpf.DropMalformed, started: halfOpen}
	}
	runTable(t, []row{
		made("INIT without parameters", initiate(), initiate()),
		made("INIT with an IPv4 address", initiate(v4), initiate(hidden(v4))),
		made("INIT with addresses of all kinds among other parameters",
			initiate(supported, v4, v6, cookie, hostname, v4), initiate(supported, hidden(v4), hidden(v6), cookie, hidden(hostname), hidden(v4))),
		made("INIT with 32 addresses", initiate(list(32, v4)), initiate(list(32, hidden(v4)))),
		made("INIT with a wrong CRC keeps the error", initiate(v4, v6).withL4Error(0x10), initiate(hidden(v4), hidden(v6)).withL4Error(0x10)),
		made("INIT with an address, padded to 100 bytes", initiate(v4).padded(100), initiate(hidden(v4)).padded(100)),
		made("INIT with an address and IP options", initiate(v4).withIPOptions(148, 4, 0, 0), initiate(hidden(v4)).withIPOptions(148, 4, 0, 0)),
		{name: "INIT ACK with addresses and a cookie", given: halfOpen, from: "server0", in: accept(v4, cookie, v6),
			out:     sent(accept(hidden(v4), cookie, hidden(v6)).nat(vip, client, "client")),
			entries: answered(halfOpen)},
		bad("INIT with 33 addresses", initiate(list(33, v4))),
		bad("INIT with a parameter of length 0", initiate([]byte{0, 12, 0, 0}, v4)),
		bad("INIT with a parameter of length 3", initiate([]byte{0, 12, 0, 3}, v4)),
		bad("INIT whose last parameter is longer than the packet", initiate([]byte{0, 12, 0, 99})),
		bad("INIT whose chunk is longer than the packet", initiate(v4).with(atL4+12+2, 0, 200)),
		bad("INIT whose chunk is shorter than its fixed part", initiate(v4).with(atL4+12+2, 0, 19)),
	})
}

// Source ports.
func TestPorts(t *testing.T) {
	const client, vip, backend = "client:40000", "vip:80", "b1:8080"
	first := tcpPacket(client, vip, syn)
	flow := func(source string) []string {
		return pair("flows_new", "half-open", "tcp", client, vip, source, backend)
	}
	slice := func(low, high uint16) func(*state) {
		return func(s *state) { s.vips["vip"] = bpf.VIP{PortMin: low, PortMax: high} }
	}
	taken := func(port int) []string {
		return pair("flows", "established", "tcp", "client2:40000", vip, fmt.Sprintf("vip:%d", port), backend)
	}
	runTable(t, []row{
		{name: "two clients of one port: the second one gets another port",
			given: taken(40000), in: first, out: sent(first.nat(movedSource, backend, "b1")), started: flow(movedSource)},
		{name: "two half-open clients of one port: the second one gets another port",
			given: pair("flows_new", "half-open", "tcp", "client2:40000", vip, "vip:40000", backend),
			in:    first, out: sent(first.nat(movedSource, backend, "b1")), started: flow(movedSource)},
		{name: "the same port towards another backend is no collision",
			given: pair("flows", "established", "tcp", "client2:40000", vip, "vip:40000", "b2:8080"),
			in:    first, out: sent(first.nat("vip:40000", backend, "b1")), started: flow("vip:40000")},
		{name: "default mode: a collision of one client's flows to two frontends moves the port alone",
			given:   pair("flows", "established", "tcp", client, "vip:95", client, backend),
			in:      tcpPacket(client, "vip:81", syn),
			out:     sent(tcpPacket(client, "vip:81", syn).nat(movedDefault, backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", client, "vip:81", movedDefault, backend)},
		{name: "onearm: two clients of one port",
			given:   pair("flows", "established", "tcp", "client2:40000", "vip:82", "lb:40000", backend),
			in:      tcpPacket(client, "vip:82", syn),
			out:     sent(tcpPacket(client, "vip:82", syn).nat(movedOnearm, backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", client, "vip:82", movedOnearm, backend)},
		{name: "a frontend's port is never the VIP's source port",
			in: tcpPacket("client:81", vip, syn), out: sent(tcpPacket("client:81", vip, syn).nat(movedFrontend, backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", "client:81", vip, movedFrontend, backend)},
		{name: "a frontend's port of another protocol may be",
			in: tcpPacket("client:53", vip, syn), out: sent(tcpPacket("client:53", vip, syn).nat("vip:53", backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", "client:53", vip, "vip:53", backend)},
		{name: "onearm: a port that is a frontend of the VIP is as good as any",
			change: func(s *state) { s.own = ports{81, 81} },
			in:     tcpPacket("client:81", "vip:82", syn), out: sent(tcpPacket("client:81", "vip:82", syn).nat("lb:81", backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", "client:81", "vip:82", "lb:81", backend)},
		{name: "a standby takes a port of its slice, though the client's is free",
			change: slice(50000, 50000), in: first, out: sent(first.nat("vip:50000", backend, "b1")), started: flow("vip:50000")},
		{name: "a standby whose slice is used up drops",
			change: slice(50000, 50000), given: taken(50000), in: first, drop: bpf.DropNoPort},
		{name: "a standby's slice of two ports: the other one is found",
			change: slice(50000, 50001), given: taken(50000), in: first, out: sent(first.nat("vip:50001", backend, "b1")),
			started: flow("vip:50001")},
		{name: "a standby keeps the client's port where the source is its own address",
			change: slice(50000, 50000), in: tcpPacket(client, "vip:82", syn),
			out:     sent(tcpPacket(client, "vip:82", syn).nat("lb:40000", backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", client, "vip:82", "lb:40000", backend)},
		{name: "a VIP without a range uses ports from 1024",
			change: func(s *state) { s.vips["vip"] = bpf.VIP{} }, in: first,
			out: sent(first.nat(movedStandby, backend, "b1")), started: flow(movedStandby)},
		{name: "source port 0 is not kept",
			in: udpPacket("client:0", "vip:53", "x"), out: sent(udpPacket("client:0", "vip:53", "x").nat(movedZero, "b1:5353", "b1")),
			started: pair("flows_new", "half-open", "udp", "client:0", "vip:53", movedZero, "b1:5353")},
	})
}

// Where the source is this node's own address its sockets have it too. Flows keep to
// ports that the kernel gives no socket.
func TestOwnPorts(t *testing.T) {
	const backend = "b1:8080"
	own := func(low, high uint16) func(*state) {
		return func(s *state) {
			s.own = ports{low, high}
			s.vips["vip"] = bpf.VIP{Flags: bpf.VIPActive, PortMin: 30000, PortMax: 30000}
		}
	}
	made := func(name string, change func(*state), client, vip, source, backend, via string) row {
		first := tcpPacket(client, vip, syn)
		return row{name: name, change: change, in: first, out: sent(first.nat(source, backend, via)),
			started: pair("flows_new", "half-open", "tcp", client, vip, source, backend)}
	}
	taken := pair("flows", "established", "tcp", "client2:40000", "vip:82", "lb:50000", backend)
	full := tcpPacket("client:40000", "vip:82", syn)
	rows := []row{
		made("onearm: a client's port below them is not kept", own(50000, 50000), "client:49999", "vip:82", "lb:50000", backend, "b1"),
		made("onearm: a client's port above them is not kept", own(50000, 50000), "client:50001", "vip:82", "lb:50000", backend, "b1"),
		made("onearm: a client's port that is the first of them is kept", own(50000, 50009), "client:50000", "vip:82", "lb:50000", backend, "b1"),
		made("onearm: a client's port that is the last of them is kept", own(50000, 50009), "client:50009", "vip:82", "lb:50009", backend, "b1"),
		made("fullnat to another LB node: a client's port is not kept", own(50000, 50000), "client:40000", "vip:74", "lb:50000", "lb2:30080", "lb2"),
		made("fullnat: the VIP is no socket's", own(50000, 50000), "client:40000", "vip:80", "vip:40000", backend, "b1"),
		made("default: the client's address is no socket's", own(50000, 50000), "client:40000", "vip:81", "client:40000", backend, "b1"),
		{name: "onearm: all of them in use", change: own(50000, 50000), given: taken, in: full, drop: bpf.DropNoPort},
		{name: "onearm: another client has the one that this client's port is", change: own(50000, 50001), given: taken,
			in:      tcpPacket("client:50000", "vip:82", syn),
			out:     sent(tcpPacket("client:50000", "vip:82", syn).nat("lb:50001", backend, "b1")),
			started: pair("flows_new", "half-open", "tcp", "client:50000", "vip:82", "lb:50001", backend)},
		{name: "onearm: what the backend answers a socket at the client's port is the socket's", from: "server0",
			given: pair("flows_new", "half-open", "tcp", "client:40000", "vip:82", "lb:50000", backend),
			in:    tcpPacket(backend, "lb:40000", syn|ack), pass: true},
	}
	for _, c := range modeCases() {
		if c.mode == "onearm" {
			first := c.first("client:40000", c.frontend)
			rows = append(rows, row{name: "onearm " + c.proto + ": a client's port is not kept", change: own(50000, 50000), in: first,
				out:     sent(first.nat("lb:50000", c.backend, "b1")),
				started: pair("flows_new", "half-open", c.proto, "client:40000", c.frontend, "lb:50000", c.backend)})
		}
	}
	runTable(t, rows)

	rows = nil
	for _, c := range modeCases() {
		first := c.first("lb:40000", c.frontend).leaving("server0", "vip")
		rows = append(rows, row{name: c.mode + " " + c.proto + ": a socket's own port is not kept", from: "server0", change: own(50000, 50000), in: first,
			out:     sent(first.rewritten("lb:50000", c.backend).leaving("server0", "b1")),
			started: with(pair("flows_new", "half-open", c.proto, "lb:40000", c.frontend, "lb:50000", c.backend), "pair-up", "up")})
	}
	runEgressTable(t, append(rows, row{name: "all of them in use", from: "server0", change: own(50000, 50000), given: taken,
		in: tcpPacket("lb:40000", "vip:80", syn).leaving("server0", "vip"), drop: bpf.DropNoPort}))
}

// First ports of other sequences, see movedSource.
const (
	movedDefault  = "client:58744"
	movedOnearm   = "lb:51261"
	movedFrontend = "vip:34245"
	movedStandby  = movedSource
	movedZero     = "vip:57613"
)
