package packettest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// copyOf returns the copy that CPUs have of a flow, by the address of who sends; nil:
// none.
func (w *world) copyOf(t *testing.T, source string) *bpf.Cached {
	t.Helper()
	lines, err := w.cached()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range lines {
		if c.Key.Saddr == bpf.Addr(ap(source).Addr()) && c.Key.Sport == bpf.Port(ap(source).Port()) {
			return &c
		}
	}
	return nil
}

// flowOf returns the entry of flows by who sends.
func (w *world) flowOf(t *testing.T, source string) (key bpf.FlowKey, flow bpf.Flow) {
	t.Helper()
	for it := w.maps[bpf.MapFlows].Iterate(); it.Next(&key, &flow); {
		if key.Saddr == bpf.Addr(ap(source).Addr()) && key.Sport == bpf.Port(ap(source).Port()) {
			return key, flow
		}
	}
	t.Fatalf("flows has nothing from %s", source)
	return key, flow
}

// within runs body, which is told the tick at which it begins, and again where that took
// longer: what a row says of ticks must still be so when its packet is sent.
func (w *world) within(t *testing.T, ticks uint64, body func(now uint32)) {
	t.Helper()
	for range 50 {
		begin := w.clock(t).Jiffies
		body(uint32(begin))
		if w.clock(t).Jiffies-begin <= ticks {
			return
		}
	}
	t.Fatalf("in 50 times none was done within %d ticks", ticks)
}

// Packets after the first go by a copy, of which flows learns when it ends.
func TestEstablishedPacketsGoByACopy(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		w.connect(t, hook, 40000)
		data := tcpPacket("client:40000", "vip:80", ack|psh)
		for range 3 {
			if w.send(t, hook, "", data) == nil {
				t.Fatal("data were not sent")
			}
		}
		_, before := w.flowOf(t, "client:40000")
		copied := w.copyOf(t, "client:40000")
		if copied == nil || copied.Packets < 2 {
			t.Fatalf("the copy is %+v, want it to have counted two packets at least", copied)
		}
		// SYN, ACK and the data; the copy has what flows lacks.
		if n := before.Packets + uint64(copied.Packets); n != 5 {
			t.Errorf("flows and its copy counted %d packets, want 5", n)
		}
		w.send(t, hook, "", data.withTTL(1))
		if n := w.counter(t, hook, bpf.DropTTLExceeded); n != 1 {
			t.Errorf("counted %d ttl_exceeded, want 1", n)
		}
		if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", fin|ack)) == nil {
			t.Fatal("FIN was not sent")
		}
		if _, after := w.flowOf(t, "client:40000"); after.Packets != 6 {
			t.Errorf("a FIN left %d packets counted in flows, want 6", after.Packets)
		}
		if w.copyOf(t, "client:40000") != nil {
			t.Error("a FIN leaves the copy")
		}
	})
}

// A copy whose time is over, or that Go has dropped, asks flows.
func TestCopiesEnd(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, w *world){
		"by age": func(t *testing.T, w *world) {
			w.changeCopies(t, func(c *bpf.Cached) { c.Filled -= 251 })
		},
		"by the epoch": func(t *testing.T, w *world) {
			var e bpf.Epoch
			if err := w.maps[bpf.MapEpoch].Lookup(uint32(0), &e); err != nil {
				t.Fatal(err)
			}
			e.Number++
			if err := w.maps[bpf.MapEpoch].Put(uint32(0), e); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
				w.connect(t, hook, 40000)
				data := tcpPacket("client:40000", "vip:80", ack|psh)
				for range 3 {
					w.send(t, hook, "", data)
				}
				key, _ := w.flowOf(t, "client:40000")
				if err := w.maps[bpf.MapFlows].Delete(key); err != nil {
					t.Fatal(err)
				}
				if w.send(t, hook, "", data) == nil {
					t.Fatal("data did not go by the copy")
				}
				end(t, w)
				if err := w.clear(bpf.MapFlowsNew); err != nil {
					t.Fatal(err)
				}
				if w.send(t, hook, "", data) != nil {
					t.Error("data still go by a copy of what is not in flows")
				}
			})
		})
	}
}

// changeCopies edits all copies that CPUs have.
func (w *world) changeCopies(t *testing.T, change func(*bpf.Cached)) {
	t.Helper()
	lines, err := w.allCopies()
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		if lines[i].Key.Proto != 0 {
			change(&lines[i])
		}
	}
	if err := w.putCache(lines); err != nil {
		t.Fatal(err)
	}
}

// A connection that comes back from the same port, or takes a closed one's tuple over,
// is another: no CPU may send its packets by the last one's copy. The copies are put
// back, as another CPU would still have them.
func TestNoCopyOutlivesItsConnection(t *testing.T) {
	t.Run("the client comes back", func(t *testing.T) {
		hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
			w.connect(t, hook, 40000)
			data := tcpPacket("client:40000", "vip:80", ack|psh)
			w.send(t, hook, "", data)
			w.send(t, hook, "", data)
			old, err := w.allCopies()
			if err != nil {
				t.Fatal(err)
			}
			w.send(t, hook, "", tcpPacket("client:40000", "vip:80", rst))
			if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", syn)) == nil {
				t.Fatal("SYN was not sent")
			}
			if err := w.putCache(old); err != nil {
				t.Fatal(err)
			}
			w.send(t, hook, "", data)
			if c := w.copyOf(t, "client:40000"); c == nil || c.Packets != 1 {
				t.Errorf("the new connection's packet went by the last one's copy: %+v", c)
			}
		})
	})
	t.Run("another client takes the tuple", func(t *testing.T) {
		hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
			source := w.connect(t, hook, 40000)
			answer := tcpPacket("b1:8080", fmt.Sprintf("vip:%d", source), ack|psh)
			w.send(t, hook, "server0", answer)
			w.send(t, hook, "server0", answer)
			old, err := w.allCopies()
			if err != nil {
				t.Fatal(err)
			}
			w.send(t, hook, "", tcpPacket("client:40000", "vip:80", rst))
			out := w.send(t, hook, "", tcpPacket("client2:40000", "vip:80", syn))
			if out == nil || int(out[34])<<8|int(out[35]) != source {
				t.Fatalf("the other client's SYN did not take source port %d", source)
			}
			if err := w.putCache(old); err != nil {
				t.Fatal(err)
			}
			out = w.send(t, hook, "server0", tcpPacket("b1:8080", fmt.Sprintf("vip:%d", source), syn|ack))
			if out == nil {
				t.Fatal("SYN-ACK was not sent")
			}
			w.send(t, hook, "", tcpPacket("client2:40000", "vip:80", ack))
			out = w.send(t, hook, "server0", answer)
			if out == nil || string(out[30:34]) != string(addr("client2").AsSlice()) {
				t.Error("the second client's answer went to the first")
			}
		})
	})
}

// Where XDP may not transmit to the next hop, its copy says so, and counts nothing: the
// packet is TC's.
func TestACopyLeavesPacketsToTC(t *testing.T) {
	over(t, func(t *testing.T, w *world, hook bpf.Hook) {
		w.connect(t, bpf.HookTC, 40000)
		data := tcpPacket("client:40000", "vip:80", ack|psh)
		w.send(t, hook, "", data)
		w.changeNexthops(t, func(n *bpf.Nexthop) { n.Flags &^= bpf.NexthopXDP })
		for want := uint64(1); want < 3; want++ {
			if w.send(t, hook, "", data) != nil {
				t.Fatal("XDP sent to a device that it may not transmit to")
			}
			if n := w.counter(t, hook, bpf.CounterPassed); n != want {
				t.Errorf("%d passed, want %d", n, want)
			}
		}
		if c := w.copyOf(t, "client:40000"); c == nil || c.Packets != 0 {
			t.Errorf("the copy is %+v, want one that counted nothing", c)
		}
	}, bpf.HookXDP)
}

// changeNexthops edits all next hops in use.
func (w *world) changeNexthops(t *testing.T, change func(*bpf.Nexthop)) {
	t.Helper()
	var index uint32
	var hop bpf.Nexthop
	m := w.maps[bpf.MapNexthops]
	for it := m.Iterate(); it.Next(&index, &hop); {
		if hop.Claim == 0 {
			continue
		}
		change(&hop)
		if err := m.Put(index, &hop); err != nil {
			t.Fatal(err)
		}
	}
}

// Which of the lines that a flow may have it gets where others have them all.
func TestLinesGoToBusyFlows(t *testing.T) {
	for name, c := range map[string]struct {
		filled, used uint32 // ticks ago, of each line
		seen         uint32 // ticks ago, the flow
		free         bool   // has the line been given up
		packets      uint64 // of the flow before
		copied       bool
	}{
		"whose time is over":                        {filled: 251, copied: true},
		"that are free":                             {free: true, copied: true},
		"that are in use":                           {},
		"that are in use, for one packet in 16":     {packets: 15, copied: true},
		"that are idle, for a busy flow":            {used: 40, seen: 5, copied: true},
		"that are idle, for one as idle":            {used: 40, seen: 40},
		"that pause only, for one that is busy":     {used: 25, seen: 5},
		"that are idle, for a flow that comes back": {used: 40, seen: 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
				w.connect(t, hook, 40000)
				key, flow := w.flowOf(t, "client:40000")
				lines := make([]bpf.Cached, w.maps[bpf.MapCache].MaxEntries())
				w.within(t, 4, func(now uint32) {
					for i := range lines {
						lines[i] = bpf.Cached{Key: bpf.FlowKey{Saddr: uint32(i), Proto: tcp}, Filled: now - c.filled, LastSeen: now - c.used}
						if c.free {
							lines[i].Key.Proto = 0
						}
					}
					flow.LastSeen, flow.Packets = now-c.seen, c.packets
					if err := errors.Join(w.putCache(lines), w.maps[bpf.MapFlows].Put(key, flow)); err != nil {
						t.Fatal(err)
					}
					if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", ack|psh)) == nil {
						t.Fatal("data were not sent")
					}
				})
				if copied := w.copyOf(t, "client:40000"); (copied != nil) != c.copied {
					t.Errorf("the flow's line is %+v, want one: %t", copied, c.copied)
				}
			})
		})
	}
}

// The line that was used least lately goes, and whichever it is, the next packet finds it.
func TestEveryWayIsFound(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		w.connect(t, hook, 40000)
		key, flow := w.flowOf(t, "client:40000")
		data := tcpPacket("client:40000", "vip:80", ack|psh)
		places := map[int]bool{}
		for way := range 4 {
			lines := make([]bpf.Cached, w.maps[bpf.MapCache].MaxEntries())
			w.within(t, 4, func(now uint32) {
				for i := range lines {
					lines[i] = bpf.Cached{Key: bpf.FlowKey{Saddr: uint32(i), Proto: tcp}, Filled: now, LastSeen: now - 40}
					if i%4 == way {
						lines[i].LastSeen = now - 41
					}
				}
				flow.LastSeen = now
				if err := errors.Join(w.putCache(lines), w.maps[bpf.MapFlows].Put(key, flow)); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if w.send(t, hook, "", data) == nil {
						t.Fatal("data were not sent")
					}
				}
			})
			lines, err := w.allCopies()
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range lines {
				if c.Key == key && c.Packets == 1 {
					places[i%4] = true
				}
			}
		}
		if len(places) != 4 {
			t.Errorf("the second packet went by a copy in lines %v of 4, want all", places)
		}
	})
}

// A line that is made anew comes to where it is looked for first, if the one there is free,
// over, or was used less than half as much. Both keep what they have.
func TestABusyLineComesFirst(t *testing.T) {
	for name, c := range map[string]struct {
		used, other uint32 // packets that the flow's line counted, and the one in the first way
		filled      uint32 // ticks ago, that one
		free        bool   // no flow has the first way
		first       bool
	}{
		"before one that is used less":     {used: 8, other: 3, first: true},
		"not before one used half as much": {used: 7, other: 3},
		"not before one that is used more": {used: 7, other: 9},
		"before one whose time is over":    {used: 7, other: 1_000_000, filled: 251, first: true},
		"before none":                      {free: true, first: true},
	} {
		t.Run(name, func(t *testing.T) {
			hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
				w.connect(t, hook, 40000)
				data := tcpPacket("client:40000", "vip:80", ack|psh)
				w.send(t, hook, "", data)
				key, _ := w.flowOf(t, "client:40000")
				made, err := w.allCopies()
				if err != nil {
					t.Fatal(err)
				}
				first := slices.IndexFunc(made, func(c bpf.Cached) bool { return c.Key == key })
				if first < 0 {
					t.Fatal("no line was made")
				}
				for way := 1; way < 4; way++ {
					_, flow := w.flowOf(t, "client:40000")
					lines := make([]bpf.Cached, len(made))
					var other bpf.Cached
					w.within(t, 4, func(now uint32) {
						if err := w.maps[bpf.MapFlows].Put(key, flow); err != nil {
							t.Fatal(err)
						}
						clear(lines)
						if !c.free {
							other = bpf.Cached{
								Key: bpf.FlowKey{Saddr: 1, Proto: tcp}, Version: 1, Filled: now - c.filled, LastSeen: 2, Bytes: 3, Packets: c.other, Nexthop: 4,
							}
							other.Rewrite.Saddr, other.Rewrite.CsumPort = 5, 6
						}
						lines[first], lines[first^way] = other, made[first]
						lines[first^way].Filled -= 251
						lines[first^way].Packets = c.used
						if err := w.putCache(lines); err != nil {
							t.Fatal(err)
						}
						if w.send(t, hook, "", data) == nil {
							t.Fatal("data were not sent")
						}
					})
					if lines, err = w.allCopies(); err != nil {
						t.Fatal(err)
					}
					mine, its := first^way, first
					if c.first {
						mine, its = its, mine
					}
					if lines[mine].Key != key || lines[its] != other {
						t.Errorf("from way %d: the first has %+v, that one %+v", way, lines[first], lines[first^way])
					}
					if _, after := w.flowOf(t, "client:40000"); after.Packets != flow.Packets+uint64(c.used)+1 {
						t.Errorf("from way %d: the flow counted %d packets, want %d more than %d", way, after.Packets, c.used+1, flow.Packets)
					}
				}
			})
		})
	}
}

// What leaves the node is mostly no flow's, and would look for a copy in vain.
func TestNoCopiesAtEgress(t *testing.T) {
	w := newWorld(t)
	flow := with(pair("flows", "established", "tcp", "lb:50000", "vip:80", "lb:50000", "b1:8080"), "pair-up", "up")
	if err := w.program(newState(), flow); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.send(t, bpf.HookEgress, "server0", tcpPacket("lb:50000", "vip:80", ack).leaving("server0", "vip"))
	}
	if n := w.counter(t, bpf.HookEgress, bpf.CounterForwarded); n != 2 {
		t.Fatalf("%d packets were sent, want 2", n)
	}
	if lines, err := w.cached(); err != nil || len(lines) > 0 {
		t.Errorf("there are copies %+v (error %v), want none", lines, err)
	}
}

// copiesOf returns n copies of a flow whose time is over, each with 7 packets that it does
// not know of.
func copiesOf(key bpf.FlowKey, flow bpf.Flow, n uint32) []bpf.Cached {
	c := bpf.Cached{Key: key, Packets: 7, Bytes: 700, Filled: flow.LastSeen - 1000, LastSeen: flow.LastSeen + 9}
	c.Rewrite.Saddr, c.Rewrite.Daddr, c.Rewrite.Sport, c.Rewrite.Dport = flow.Saddr, flow.Daddr, flow.Sport, flow.Dport
	c.Rewrite.CsumAddr, c.Rewrite.CsumPort = flow.CsumAddr, flow.CsumPort
	return slices.Repeat([]bpf.Cached{c}, int(n))
}

// What a copy has counted is its flow's also where another flow takes the line.
func TestEvictedCopiesSettle(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		w.connect(t, hook, 40000)
		w.connect(t, hook, 40001)
		key, flow := w.flowOf(t, "client:40000")
		lines := copiesOf(key, flow, w.maps[bpf.MapCache].MaxEntries())
		if err := w.putCache(lines); err != nil {
			t.Fatal(err)
		}
		if w.send(t, hook, "", tcpPacket("client:40001", "vip:80", ack|psh)) == nil {
			t.Fatal("data were not sent")
		}
		if w.copyOf(t, "client:40001") == nil {
			t.Fatal("no line was taken")
		}
		want := flow
		want.Packets, want.Bytes, want.LastSeen = flow.Packets+7, flow.Bytes+700, flow.LastSeen+9
		if _, after := w.flowOf(t, "client:40000"); after != want {
			t.Errorf("the flow is %+v, want %+v", after, want)
		}
	})
}

// A line of a connection that is gone, of which another client's answers got the same
// rewrite, gives its counts to nobody.
func TestCountsOfAnotherKeyAreNotTaken(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		source := w.connect(t, hook, 40000)
		answer := tcpPacket("b1:8080", fmt.Sprintf("vip:%d", source), ack|psh)
		w.send(t, hook, "server0", answer)
		key, flow := w.flowOf(t, "b1:8080")
		lines := copiesOf(key, flow, w.maps[bpf.MapCache].MaxEntries())
		for i := range lines {
			lines[i].Key.Saddr = bpf.Addr(addr("b2"))
		}
		if err := w.putCache(lines); err != nil {
			t.Fatal(err)
		}
		if w.send(t, hook, "server0", answer) == nil {
			t.Fatal("data were not sent")
		}
		if _, after := w.flowOf(t, "b1:8080"); after.Packets != flow.Packets+1 {
			t.Errorf("counted %d packets, want %d", after.Packets, flow.Packets+1)
		}
	})
}

// A copy says when it was used last, by which the one that is idle gives way.
func TestCopiesSayWhenTheyWereUsed(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		w.connect(t, hook, 40000)
		for _, when := range []string{"filled", "used"} {
			begin := uint32(w.clock(t).Jiffies)
			if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", ack|psh)) == nil {
				t.Fatal("data were not sent")
			}
			if c := w.copyOf(t, "client:40000"); c == nil || int32(c.LastSeen-begin) < 0 {
				t.Errorf("%s at tick %d at the earliest, the copy is %+v", when, begin, c)
			}
			w.changeCopies(t, func(c *bpf.Cached) { c.LastSeen -= 40 })
		}
	})
}

// A CPU has lines of its own alone, whichever its flows are.
func TestCopiesStayWithTheirCPU(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		var given []string
		for port := 40000; port < 40400; port++ {
			given = append(given, pair("flows", "established", "tcp", fmt.Sprintf("client:%d", port), "vip:80", fmt.Sprintf("vip:%d", port), "b1:8080")...)
		}
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		for port := 40000; port < 40400; port++ {
			if w.send(t, hook, "", tcpPacket(fmt.Sprintf("client:%d", port), "vip:80", ack|psh)) == nil {
				t.Fatal("data were not sent")
			}
		}
		lines, err := w.allCopies()
		if err != nil {
			t.Fatal(err)
		}
		used := map[int]int{}
		for i, c := range lines {
			if c.Key.Proto != 0 {
				used[i/cacheLines]++
			}
		}
		if len(used) != 1 || !slices.Contains(slices.Collect(maps.Values(used)), cacheLines) {
			t.Errorf("lines in use of each CPU: %v, want all %d of one", used, cacheLines)
		}
	})
}

// What ends a connection leaves no copy, and no packet after it makes one.
func TestNoCopyOfWhatIsOver(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		source := w.connect(t, hook, 40000)
		answers := fmt.Sprintf("vip:%d", source)
		w.send(t, hook, "", tcpPacket("client:40000", "vip:80", fin|ack))
		w.send(t, hook, "server0", tcpPacket("b1:8080", answers, fin|ack))
		if w.send(t, hook, "", tcpPacket("client:40000", "vip:80", ack)) == nil {
			t.Fatal("the last ACK was not sent")
		}
		if c := w.copyOf(t, "client:40000"); c != nil {
			t.Errorf("there is a copy: %+v", c)
		}
	})
}

// A connection may be over by what the other end has sent, to another CPU maybe: the copy
// that is left here goes with the next packet, and what it has counted is its flow's, not
// the next connection's between the same ends.
func TestCopyOfWhatIsOverSettles(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		source := w.connect(t, hook, 40000)
		answer := tcpPacket("b1:8080", fmt.Sprintf("vip:%d", source), ack|psh)
		w.send(t, hook, "server0", answer)
		w.send(t, hook, "server0", answer)
		if c := w.copyOf(t, "b1:8080"); c == nil || c.Packets != 1 {
			t.Fatalf("the copy is %+v, want it to have counted a packet", c)
		}
		w.send(t, hook, "", tcpPacket("client:40000", "vip:80", rst))
		w.changeCopies(t, func(c *bpf.Cached) { c.Filled -= 251 })
		if w.send(t, hook, "server0", answer) == nil {
			t.Fatal("data that were under way were not sent")
		}
		if _, flow := w.flowOf(t, "b1:8080"); flow.Packets != 4 {
			t.Errorf("flows counts %d packets, want 4", flow.Packets)
		}
		if c := w.copyOf(t, "b1:8080"); c != nil {
			t.Errorf("there is a copy: %+v", c)
		}
	})
}
