package packettest

import (
	"fmt"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

const (
	// floodSYNs is some times what flows_new of the tests holds.
	floodSYNs = 12_000
	// standing connections, and one that is opened for each so many SYNs.
	standing, between = 100, 100
)

// A flood of SYNs from forged addresses, each answered by the backend: connections
// that stand do not notice, new ones are made meanwhile, and flows has nothing but
// those.
func TestFloodThatBackendsAnswer(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		sources := map[int]int{} // of clients, by their port
		for port := 2000; port < 2000+standing; port++ {
			sources[port] = w.connect(t, hook, port)
		}
		for i := range floodSYNs {
			forged := fmt.Sprintf("198.19.%d.%d:%d", i>>8&0xff, i&0xff, 1024+i>>16)
			out := w.send(t, hook, "", tcpPacket(forged, "vip:80", syn))
			if out == nil {
				t.Fatalf("SYN %d of the flood was dropped: it found no room among half-open flows", i)
			}
			port := int(out[34])<<8 | int(out[35])
			if w.send(t, hook, "server0", tcpPacket("b1:8080", fmt.Sprintf("vip:%d", port), syn|ack)) == nil {
				t.Fatalf("the answer to SYN %d was dropped", i)
			}
			if i%between == 0 {
				port := 10_000 + i/between
				sources[port] = w.connect(t, hook, port)
			}
		}
		if n := w.count(t, bpf.MapFlows); n != 2*len(sources) {
			t.Errorf("%d entries in flows, want two for each of %d connections: the flood is in there", n, len(sources))
		}
		for port, source := range sources {
			if w.send(t, hook, "", tcpPacket(fmt.Sprintf("client:%d", port), "vip:80", ack|psh)) == nil ||
				w.send(t, hook, "server0", tcpPacket("b1:8080", fmt.Sprintf("vip:%d", source), ack|psh)) == nil {
				t.Fatalf("the flood has ended the connection from port %d", port)
			}
		}
		if most := w.maps[bpf.MapFlowsNew].MaxEntries(); w.count(t, bpf.MapFlowsNew) > int(most) {
			t.Errorf("flows_new has more than its %d entries", most)
		}
	})
}
