package packettest

import (
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// retired is the state when the last service of the VIP has gone, and its flows have not.
func retired(s *state) {
	s.vips["vip"] = bpf.VIP{Flags: bpf.VIPRetired}
	s.frontends, s.backends = nil, []string{"b1"}
}

// Flows of a VIP that no service has go on; all else that is to it, and what comes from it,
// is the kernel's.
func TestRetiredVIP(t *testing.T) {
	const client = "client:40000"
	var rows []row
	for _, c := range modeCases() {
		flow := pair("flows", "established", c.proto, client, c.frontend, c.source, c.backend)
		data, answer := c.data(client, c.frontend), c.data(c.backend, c.source)
		rows = append(rows,
			row{name: c.mode + " " + c.proto + ": a client's packet of a flow", change: retired, given: flow,
				in: data, out: sent(data.nat(c.source, c.backend, "b1"))},
			row{name: c.mode + " " + c.proto + ": an answer of a flow", change: retired, given: flow, from: "server0",
				in: answer, out: sent(answer.nat(c.frontend, client, "client"))},
			row{name: c.mode + " " + c.proto + ": a first packet", change: retired, in: c.first(client, c.frontend), pass: true},
			row{name: c.mode + " " + c.proto + ": data of no flow", change: retired, in: c.data(client, c.frontend), pass: true})
	}
	halfOpen := pair("flows_new", "half-open", "tcp", client, "vip:80", "vip:40000", "b1:8080")
	data := tcpPacket(client, "vip:80", ack|psh).withPayload(12)
	reset := tcpPacket(client, "vip:80", rst|ack)
	again := tcpPacket(client, "vip:80", syn)
	runTable(t, append(rows,
		row{name: "an answer of a half-open flow", change: retired, given: halfOpen, from: "server0",
			in:      tcpPacket("b1:8080", "vip:40000", syn|ack),
			out:     sent(tcpPacket("b1:8080", "vip:40000", syn|ack).nat("vip:80", client, "client")),
			entries: answered(halfOpen)},
		row{name: "data of a half-open flow", change: retired, given: answered(halfOpen), in: data, out: sent(data.nat("vip:40000", "b1:8080", "b1")),
			entries: both(answered(pair("flows_new", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080")),
				pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080"))},
		row{name: "a reset of a flow", change: retired, given: pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080"),
			in: reset, out: sent(reset.nat("vip:40000", "b1:8080", "b1")),
			entries: pair("flows", "closing", "tcp", client, "vip:80", "vip:40000", "b1:8080")},
		row{name: "a first packet of a flow that is over", change: retired, given: pair("flows", "closing", "tcp", client, "vip:80", "vip:40000", "b1:8080"),
			in: again, pass: true, entries: []string{}},
		row{name: "a ping", change: retired, in: echoRequest("client", "vip", 56), pass: true},
		row{name: "a fragment", change: retired, in: udpPacket(client, "vip:53", "x").withFragment(0x2000), pass: true},
		row{name: "another protocol", change: retired, in: tcpPacket(client, "vip:80", syn).with(23, 47), pass: true},
		row{name: "an error about no flow", change: retired, pass: true, from: "server0",
			in: icmpError("b1", unreachable, portUnreachable, 0, udpPacket("vip:50009", "b1:5353", "x"), 8)},
		row{name: "it is no other VIP's spoof", drop: bpf.DropNoFlow, in: tcpPacket("vip:40000", "vip2:80", ack),
			change: func(s *state) { retired(s); s.vips["vip2"] = bpf.VIP{} }}))
}

// Packets that go to no VIP and come from no backend are no flow's, and flows is not asked
// for them; one of both is enough.
func TestStrangers(t *testing.T) {
	only := func(vips map[string]bpf.VIP, backends ...string) func(*state) {
		return func(s *state) { s.vips, s.frontends, s.backends = vips, nil, backends }
	}
	flow := pair("flows", "established", "tcp", "client:40000", "vip:80", "vip:40000", "b1:8080")
	direct := pair("flows", "established", "tcp", "client:40000", "vip:81", "client:40000", "b1:8080")
	data, answer := tcpPacket("client:40000", "vip:80", ack), tcpPacket("b1:8080", "client:40000", ack)
	runTable(t, []row{
		{name: "to no VIP", change: only(nil, "b1"), given: flow, in: data, pass: true},
		{name: "from no backend to no VIP", change: only(map[string]bpf.VIP{"vip": {}}), given: direct, from: "server0", in: answer, pass: true},
		{name: "to a VIP", change: only(map[string]bpf.VIP{"vip": {}}), given: flow, in: data, out: sent(data.nat("vip:40000", "b1:8080", "b1"))},
		{name: "from a backend to no VIP", change: only(nil, "b1"), given: direct, from: "server0", in: answer,
			out: sent(answer.nat("vip:81", "client:40000", "client"))},
	})
}
