package packettest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// hooks runs a test for XDP and for TC ingress, each over the initial state.
func hooks(t *testing.T, test func(t *testing.T, w *world, hook bpf.Hook)) {
	over(t, test, bpf.HookXDP, bpf.HookTC)
}

// everyHook runs a test for all hooks.
func everyHook(t *testing.T, test func(t *testing.T, w *world, hook bpf.Hook)) {
	over(t, test, bpf.Hooks()...)
}

func over(t *testing.T, test func(t *testing.T, w *world, hook bpf.Hook), hooks ...bpf.Hook) {
	w := newWorld(t)
	for _, hook := range hooks {
		t.Run(hook.String(), func(t *testing.T) {
			w.enter(t)
			if err := w.program(newState(), nil); err != nil {
				t.Fatal(err)
			}
			test(t, w, hook)
		})
	}
}

// send runs a packet and returns what goes out; nil: it was not sent.
func (w *world) send(t *testing.T, hook bpf.Hook, from string, p pkt) []byte {
	t.Helper()
	r := row{in: p, from: from}
	verdict, out, err := w.run(hook, r.device(), r.frame(), 0)
	if err != nil {
		t.Fatal(err)
	}
	sentBy := map[bpf.Hook][]uint32{bpf.HookXDP: {xdpTX, xdpRedirect}, bpf.HookTC: {tcRedirect}}[hook]
	if !slices.Contains(sentBy, verdict) {
		return nil
	}
	return out
}

func (w *world) counter(t *testing.T, hook bpf.Hook, c bpf.Counter) uint64 {
	t.Helper()
	counters, err := w.counters(hook)
	if err != nil {
		t.Fatal(err)
	}
	return counters[c]
}

// 1 000 clients on one source port to one endpoint are all served, each by a
// port of its own, and each gets its own answers.
func TestThousandClientsOnOnePort(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		clients := make(map[uint16]string)
		for i := range 1000 {
			client := fmt.Sprintf("198.18.%d.%d:40000", i/250, 1+i%250)
			out := w.send(t, hook, "", tcpPacket(client, "vip:80", syn))
			if out == nil {
				t.Fatalf("SYN of client %d was not sent", i)
			}
			port := uint16(out[34])<<8 | uint16(out[35])
			if clients[port] != "" {
				t.Fatalf("port %d given to %s and %s", port, clients[port], client)
			}
			clients[port] = client
		}
		for port, client := range clients {
			answer := tcpPacket("b1:8080", fmt.Sprintf("vip:%d", port), syn|ack)
			want := answer.nat("vip:80", client, "gateway").bytes()
			if out := w.send(t, hook, "server0", answer); !bytes.Equal(out, want) {
				t.Fatalf("answer for %s:\n%s", client, describe(answer.bytes(), want, out))
			}
		}
	})
}

// A slot table is walked in order; a backend with two slots gets two of three
// flows.
func TestRoundRobinKeepsWeights(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		s := newState()
		s.frontends = append(s.frontends, frontend{tcp, 94, bpf.ModeFullnat, []string{"b1:1", "b2:1", "b1:1"}, ""})
		if err := w.program(s, nil); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		for i := range 300 {
			out := w.send(t, hook, "", tcpPacket(fmt.Sprintf("client:%d", 10000+i), "vip:94", syn))
			if out == nil {
				t.Fatalf("SYN %d was not sent", i)
			}
			got[string(out[30:34])]++
		}
		b1, b2 := got["\xc6\x33\x64\x0b"], got["\xc6\x33\x64\x0c"]
		// Each CPU that ran a part walks the table on its own.
		if b1 < 198 || b1 > 202 || b1+b2 != 300 {
			t.Fatalf("b1 got %d, b2 %d of 300 flows, want 200 and 100", b1, b2)
		}
	})
}

// A connection from SYN to its end, and the next one from the same port.
func TestConnectionFromStartToEnd(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		client, server := "client:40000", "b1:8080"
		forth := func(flags int) {
			t.Helper()
			p := tcpPacket(client, "vip:80", flags)
			if out := w.send(t, hook, "", p); !bytes.Equal(out, p.nat("vip:40000", server, "b1").bytes()) {
				t.Fatalf("flags %#x to the backend: %s", flags, layersOf(out))
			}
		}
		back := func(flags int) {
			t.Helper()
			p := tcpPacket(server, "vip:40000", flags)
			if out := w.send(t, hook, "server0", p); !bytes.Equal(out, p.nat("vip:80", client, "client").bytes()) {
				t.Fatalf("flags %#x to the client: %s", flags, layersOf(out))
			}
		}
		for range 3 {
			forth(syn)
			forth(syn)
			back(syn | ack)
			forth(ack)
			forth(ack | psh)
			back(ack | psh)
			forth(fin | ack)
			back(ack)
			back(fin | ack)
			forth(ack)
		}
		w.audit(t, hook, 30)
	})
}

// A new generation makes flows ask the FIB again, and only then: the way changes
// when Go says that it has.
func TestNextHopGeneration(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		given := pair("flows", "established", "tcp", "client:40000", "vip:80", "vip:40000", "b1:8080")
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		p := tcpPacket("client:40000", "vip:80", ack)
		before := p.nat("vip:40000", "b1:8080", "b1").bytes()
		if out := w.send(t, hook, "", p); !bytes.Equal(out, before) {
			t.Fatalf("first packet:\n%s", describe(p.bytes(), before, out))
		}
		moved := append([]byte(nil), before...)
		copy(moved, []byte{2, 7, 7, 7, 7, 7})
		w.setNeighbour(t, "b1", moved[:6])
		t.Cleanup(func() { w.setNeighbour(t, "b1", macOf("b1")) })
		if out := w.send(t, hook, "", p); !bytes.Equal(out, before) {
			t.Fatalf("within the generation the next hop must come from the cache:\n%s", describe(before, before, out))
		}
		if err := w.nextGeneration(); err != nil {
			t.Fatal(err)
		}
		if out := w.send(t, hook, "", p); !bytes.Equal(out, moved) {
			t.Fatalf("in the next generation the FIB must be asked:\n%s", describe(before, moved, out))
		}
		w.setNeighbour(t, "b1", macOf("b1"))
	})
}

// The first packet's next hop is the whole connection's: what follows in its direction
// asks the FIB no more, also in flows, to which the backend's answer moves it.
func TestFirstPacketsNextHopIsKept(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		for name, c := range map[string]struct{ first, answer, next pkt }{
			"tcp": {
				tcpPacket("client:40000", "vip:80", syn), tcpPacket("b1:8080", "vip:40000", syn|ack),
				tcpPacket("client:40000", "vip:80", ack),
			},
			"udp": {
				udpPacket("client:40000", "vip:53", "x"), udpPacket("b1:5353", "vip:40000", "x"),
				udpPacket("client:40000", "vip:53", "x"),
			},
		} {
			t.Run(name, func(t *testing.T) {
				first := w.send(t, hook, "", c.first)
				if first == nil || w.send(t, hook, "server0", c.answer) == nil {
					t.Fatal("the connection did not come about")
				}
				w.setNeighbour(t, "b1", net.HardwareAddr{2, 7, 7, 7, 7, 7})
				t.Cleanup(func() { w.setNeighbour(t, "b1", macOf("b1")) })
				if next := w.send(t, hook, "", c.next); next == nil || !bytes.Equal(next[:6], first[:6]) {
					t.Fatalf("the first packet went to % x, the next to %.6x", first[:6], next)
				}
			})
		}
	})
}

// Where the route of one of two flows moves that leave by the same gateway, what the
// other one learns of the FIB afterwards is not its answer too.
func TestMovedRouteLeavesItsGateway(t *testing.T) {
	stays, moves := tcpPacket("client:40000", "vip:80", ack), tcpPacket("client2:40001", "vip:80", ack)
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		given := both(pair("flows", "established", "tcp", "client:40000", "vip:80", "vip:40000", "far:8080"),
			pair("flows", "established", "tcp", "client2:40001", "vip:80", "vip:40001", "198.18.0.10:8080"))
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		expect := func(when string, p pkt, station string) {
			t.Helper()
			if out := w.send(t, hook, "", p); out == nil || !bytes.Equal(out[:6], macOf(station)) {
				t.Fatalf("%s: the packet went to %.6x, want %s, % x", when, out, station, []byte(macOf(station)))
			}
		}
		for _, when := range []string{"by its flow", "by a copy"} {
			expect(when, stays, "gateway")
			expect(when, moves, "gateway")
		}
		w.setRoute(t, "198.18.0.10", "client2")
		if err := w.nextGeneration(); err != nil {
			t.Fatal(err)
		}
		expect("after the change", stays, "gateway")
		expect("after the change", moves, "client2")
		expect("by a new copy", moves, "client2")
	})
}

// A flow whose new way has no neighbour keeps none of its last way: the numbers of
// generations come again in a flow's word, and a copy would be of nothing.
func TestWayWithoutNeighbourLeavesNoNextHop(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		given := pair("flows", "established", "tcp", "client2:40001", "vip:80", "vip:40001", "198.18.0.10:8080")
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		p := tcpPacket("client2:40001", "vip:80", ack)
		if w.send(t, hook, "", p) == nil {
			t.Fatal("the packet did not go to the gateway")
		}
		w.setRoute(t, "198.18.0.10", "nowhere")
		if err := w.nextGeneration(); err != nil {
			t.Fatal(err)
		}
		w.send(t, hook, "", p)
		if err := w.emptyCache(); err != nil {
			t.Fatal(err)
		}
		w.send(t, hook, "", p)
		if _, flow := w.flowOf(t, "client2:40001"); flow.Nexthop != 0 {
			t.Errorf("the flow has next hop %#x, want none", flow.Nexthop)
		}
		if c := w.copyOf(t, "client2:40001"); c != nil {
			t.Errorf("there is a copy: %+v", c)
		}
	})
}

// A bridge floods: a frame of a flow to another station is that station's to send,
// also when the next hop is known already.
func TestFloodedFramesAreLeftAlone(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		given := pair("flows", "established", "tcp", "client:40000", "vip:80", "vip:40000", "client2:8080")
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		p := tcpPacket("client:40000", "vip:80", ack)
		flooded := p.withMACs(macOf("client"), macOf("gateway"))
		for _, known := range []string{"not known", "known"} {
			if w.send(t, hook, "", flooded) != nil {
				t.Errorf("the next hop is %s: a frame to another station was sent", known)
			}
			if w.send(t, hook, "", p) == nil {
				t.Errorf("the next hop is %s: a frame to this station was not sent", known)
			}
		}
		if n := w.counter(t, hook, bpf.CounterPassed); n != 2 {
			t.Errorf("%d passed, want 2", n)
		}
	})
}

// The MTU that came with a next hop holds while it is cached.
func TestNextHopMTU(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		// Half-open flows ask the FIB each time, and that would refuse by itself.
		given := pair("flows", "established", "tcp", "client:40000", "vip:85", "vip:40000", "narrow:8080")
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		p := tcpPacket("client:40000", "vip:85", ack)
		for _, c := range []struct {
			packet pkt
			sent   bool
		}{
			{p.withPayload(1360), true},
			{p.withPayload(1361), false},
			{p.withPayload(1360), true},
		} {
			out := w.send(t, hook, "", c.packet)
			if got := out != nil && out[23] == tcp; got != c.sent { // else it is an ICMP error
				t.Fatalf("packet with %d bytes of payload: sent %v, want %v", len(c.packet.payload), got, c.sent)
			}
		}
		if n := w.counter(t, hook, bpf.DropMTUExceeded); n != 1 {
			t.Fatalf("counted %d mtu_exceeded, want 1", n)
		}
	})
}

// Checksums of all kinds of values: the arithmetic has no rare carry that is lost.
func TestEveryChecksum(t *testing.T) {
	// Ports whose delta is nearly 0xffff, so that sums can carry twice.
	given := both(pair("flows", "established", "tcp", "client:40000", "vip:80", "vip:31999", "b1:8080"),
		pair("flows", "established", "udp", "client:40000", "vip:53", "vip:31999", "b1:5353"))
	_, _, flow := parseEntry(given[0])
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		rare := 0
		for word := range 0x10000 {
			p, dst := tcpPacket("client:40000", "vip:80", ack), "b1:8080"
			if word%32 == 0 {
				p, dst = udpPacket("client:40000", "vip:53", ""), "b1:5353"
			}
			p.payload = []byte{byte(word >> 8), byte(word)}
			if p.proto == tcp && carriesTwice(p, flow) {
				rare++
			} else if word%16 != 0 {
				continue
			}
			want := p.nat("vip:31999", dst, "b1").bytes()
			if out := w.send(t, hook, "", p); !bytes.Equal(out, want) {
				t.Fatalf("payload %#x:\n%s", word, describe(want, want, out))
			}
		}
		if rare == 0 {
			t.Fatal("no packet's sum carries twice: the test does not reach it")
		}
	})
}

// carriesTwice tells whether folding the sum of a rewrite carries again.
func carriesTwice(p pkt, flow bpf.Flow) bool {
	frame := p.withMACs(macOf("client"), macOf("client")).bytes()
	sum := uint32(^binary.NativeEndian.Uint16(frame[50:])) + uint32(flow.CsumAddr) + uint32(flow.CsumPort)
	return sum&0xffff+sum>>16 > 0xffff
}

// connect opens a connection of client:port to vip:80 and returns its source port
// towards the backend.
func (w *world) connect(t *testing.T, hook bpf.Hook, port int) int {
	t.Helper()
	client := fmt.Sprintf("client:%d", port)
	out := w.send(t, hook, "", tcpPacket(client, "vip:80", syn))
	if out == nil {
		t.Fatalf("connect from port %d: the SYN was not sent", port)
	}
	source := int(binary.BigEndian.Uint16(out[34:]))
	if w.send(t, hook, "server0", tcpPacket("b1:8080", fmt.Sprintf("vip:%d", source), syn|ack)) == nil {
		t.Fatalf("connect from port %d: the answer was not sent", port)
	}
	if w.send(t, hook, "", tcpPacket(client, "vip:80", ack)) == nil {
		t.Fatalf("connect from port %d: the acknowledgement was not sent", port)
	}
	return source
}

// Flows that leave the same way share a slot of nexthops.
func TestNextHopsAreShared(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		for i := range 50 {
			w.connect(t, hook, 2000+i)
		}
		slots := make(map[uint16]bool)
		var key bpf.FlowKey
		var flow bpf.Flow
		for it := w.maps[bpf.MapFlows].Iterate(); it.Next(&key, &flow); {
			if flow.Flags&bpf.FlowReply == 0 {
				slots[uint16(flow.Nexthop)] = true
			}
		}
		if len(slots) != 1 || slots[0] {
			t.Fatalf("50 flows to one backend use next hops %v, want one that is not 0", slots)
		}
	})
}

// A full table refuses new flows and evicts nothing.
func TestFullTable(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		for i := range 16384 / 2 {
			entries := pair("flows", "established", "tcp", fmt.Sprintf("198.18.%d.%d:1", i/256, i%256), "vip:80",
				fmt.Sprintf("vip:%d", 1+i), "b3:8080")
			for _, line := range entries {
				if err := w.putEntry(line); err != nil {
					t.Fatal(err)
				}
			}
		}
		if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", syn)) == nil {
			t.Fatal("a half-open flow needs no room in flows")
		}
		if w.send(t, hook, "server0", tcpPacket("b1:8080", "vip:40000", syn|ack)) == nil {
			t.Fatal("nor does an answer")
		}
		if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", ack)) != nil {
			t.Fatal("an acknowledgement was sent though its flow could not be promoted")
		}
		if n := w.counter(t, hook, bpf.DropFlowsFull); n != 1 {
			t.Fatalf("counted %d flows_full, want 1", n)
		}
		if w.send(t, hook, "", tcpPacket("198.18.31.255:1", "vip:80", ack)) == nil {
			t.Fatal("an established flow was evicted")
		}
		w.audit(t, hook, 4)
	})
}

// last_seen follows jiffies, as read_clock tells them.
func TestLastSeen(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		before := w.clock(t)
		w.send(t, hook, "", tcpPacket("client:40000", "vip:80", syn))
		after := w.clock(t)
		_, key, _ := parseEntry(pair("flows_new", "half-open", "tcp", "client:40000", "vip:80", "vip:40000", "b1:8080")[0])
		var flow bpf.Flow
		if err := w.maps[bpf.MapFlowsNew].Lookup(&key, &flow); err != nil {
			t.Fatal(err)
		}
		if age := uint32(after.Jiffies) - flow.LastSeen; age > uint32(after.Jiffies-before.Jiffies) {
			t.Fatalf("last seen %d, clock %d to %d", flow.LastSeen, uint32(before.Jiffies), uint32(after.Jiffies))
		}
		if flow.Packets != 1 || flow.Bytes != 54 {
			t.Fatalf("%d packets, %d bytes, want 1 of 54: Ethernet header and IP packet", flow.Packets, flow.Bytes)
		}
	})
}
