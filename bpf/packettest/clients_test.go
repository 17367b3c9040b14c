package packettest

import (
	"fmt"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// A service may be open to some clients only.
func TestSourceRanges(t *testing.T) {
	const client = "client:40000"
	opened := func(prefixes ...string) func(*state) {
		return func(s *state) { s.sources[fullnatTCP] = prefixes }
	}
	first := tcpPacket(client, "vip:80", syn)
	out := sent(first.nat("vip:40000", "b1:8080", "b1"))
	started := pair("flows_new", "half-open", "tcp", client, "vip:80", "vip:40000", "b1:8080")
	established := pair("flows", "established", "tcp", client, "vip:80", "vip:40000", "b1:8080")
	runTable(t, []row{
		{name: "to all", change: opened("0.0.0.0/0"), in: first, out: out, started: started},
		{name: "to the client alone", change: opened("192.0.2.10/32"), in: first, out: out, started: started},
		{name: "to its network", change: opened("192.0.2.0/24"), in: first, out: out, started: started},
		{name: "to one of several networks", change: opened("198.18.0.0/15", "192.0.2.8/29"), in: first, out: out, started: started},
		{name: "to its neighbour", change: opened("192.0.2.11/32"), in: first, drop: bpf.DropSourceRange},
		{name: "to a network beside its own", change: opened("192.0.2.16/28"), in: first, drop: bpf.DropSourceRange},
		{name: "of another service", change: func(s *state) {
			s.sources[fullnatTCP], s.sources[defaultTCP] = []string{"198.18.0.0/15"}, []string{"192.0.2.0/24"}
		}, in: first, drop: bpf.DropSourceRange},
		{name: "UDP", change: func(s *state) { s.sources[fullnatUDP] = []string{"198.18.0.0/15"} },
			in: udpPacket(client, "vip:53", "x"), drop: bpf.DropSourceRange},
		{name: "SCTP", change: func(s *state) { s.sources[fullnatSCTP] = []string{"198.18.0.0/15"} },
			in: sctpPacket(client, "vip:9999", chunkInit), drop: bpf.DropSourceRange},
		{name: "an established flow goes on", change: opened("198.18.0.0/15"), given: established,
			in: tcpPacket(client, "vip:80", ack), out: sent(tcpPacket(client, "vip:80", ack).nat("vip:40000", "b1:8080", "b1"))},
	})
}

// keeping is a service with three backends whose clients keep theirs for an hour.
const keeping = 94

func keepingState(backends ...string) *state {
	s := newState()
	s.frontends = append(s.frontends, frontend{tcp, keeping, bpf.ModeFullnat, backends, ""})
	s.affinity[keeping] = 3600
	return s
}

// chosen opens connections from ports of a client and returns the backend, the same one each time.
func (w *world) chosen(t *testing.T, hook bpf.Hook, client string, ports ...int) string {
	t.Helper()
	var backend string
	for _, port := range ports {
		out := w.send(t, hook, "", tcpPacket(fmt.Sprintf("%s:%d", client, port), fmt.Sprintf("vip:%d", keeping), syn))
		if out == nil {
			t.Fatalf("SYN from %s:%d was not sent", client, port)
		}
		got := fmt.Sprintf("198.51.100.%d", out[33])
		if backend != "" && got != backend {
			t.Fatalf("client %s got %s and %s", client, backend, got)
		}
		backend = got
	}
	return backend
}

func TestClientsKeepTheirBackend(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		three := []string{"b1:1", "b2:1", "b3:1"}
		if err := w.program(keepingState(three...), nil); err != nil {
			t.Fatal(err)
		}
		first, spread := map[string]string{}, map[string]int{}
		for i := range 150 {
			client := fmt.Sprintf("198.18.0.%d", 1+i)
			first[client] = w.chosen(t, hook, client, 1000, 2000, 3000)
			spread[first[client]]++
		}
		for backend, n := range spread {
			if n < 30 || n > 70 {
				t.Errorf("%s got %d of 150 clients, want about 50", backend, n)
			}
		}

		// As another node that has never seen them, or when the table of clients was full.
		if err := w.clear(bpf.MapAffinity); err != nil {
			t.Fatal(err)
		}
		for client, backend := range first {
			if got := w.chosen(t, hook, client, 4000); got != backend {
				t.Errorf("another node gives %s %s, this one gave %s", client, got, backend)
			}
		}
	})
}

// A table of other slots moves nobody; one whose backend has left it gets another.
func TestClientsKeepTheirBackendOverChanges(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(keepingState("b1:1", "b2:1", "b3:1"), nil); err != nil {
			t.Fatal(err)
		}
		before := w.chosen(t, hook, "far", 1000)
		w.leaveSlots(t, before)
		if got := w.chosen(t, hook, "far", 2000); got != before {
			t.Fatalf("other slots: the client went from %s to %s", before, got)
		}
		w.retire(t, before)
		after := w.chosen(t, hook, "far", 3000, 4000)
		if after == before {
			t.Fatalf("%s is retired, and the client keeps it", before)
		}
	})
}

// Time ends it: the last new flow is longer ago than the service says.
func TestClientsAreForgotten(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(keepingState("b1:1", "b2:1", "b3:1"), nil); err != nil {
			t.Fatal(err)
		}
		own := w.chosen(t, hook, "far", 1000)
		service := w.keepingService(t)
		key := bpf.AffinityKey{Service: service.Id, Client: bpf.Addr(addr("far"))}
		var a bpf.Affinity
		if err := w.maps[bpf.MapAffinity].Lookup(&key, &a); err != nil {
			t.Fatal(err)
		}
		// Another of the service, so that one sees who has chosen.
		a.Backend = service.SlotOffset + (a.Backend-service.SlotOffset+1)%3
		keeps := func(ago uint32) bool {
			old := a
			old.Last -= ago
			if err := w.maps[bpf.MapAffinity].Put(&key, &old); err != nil {
				t.Fatal(err)
			}
			return w.chosen(t, hook, "far", int(2000+ago)) != own
		}
		if !keeps(3590) {
			t.Error("forgotten 10 s before its time")
		}
		var renewed bpf.Affinity
		if err := w.maps[bpf.MapAffinity].Lookup(&key, &renewed); err != nil || renewed.Last < a.Last {
			t.Errorf("a new flow left the client's last one at %d, %d before it (%v)", renewed.Last, a.Last-renewed.Last, err)
		}
		if keeps(3600) {
			t.Error("kept when its time was over")
		}
		// By a CPU whose clock is a tick ahead, in the next second.
		ahead := a
		ahead.Last += 5
		if err := w.maps[bpf.MapAffinity].Put(&key, &ahead); err != nil {
			t.Fatal(err)
		}
		if w.chosen(t, hook, "far", 3000) == own {
			t.Error("forgotten when another CPU had just seen it")
		}
	})
}

func (w *world) keepingService(t *testing.T) (service bpf.Service) {
	t.Helper()
	key := bpf.ServiceKey{Vip: bpf.Addr(addr("vip")), Port: bpf.Port(keeping), Proto: tcp}
	if err := w.maps[bpf.MapServices].Lookup(&key, &service); err != nil {
		t.Fatal(err)
	}
	return service
}

func (w *world) backendAt(t *testing.T, id uint32) string {
	t.Helper()
	var b bpf.Backend
	if err := w.maps[bpf.MapBackends].Lookup(id, &b); err != nil {
		t.Fatal(err)
	}
	return bpf.AddrFrom(b.Addr).String()
}

// leaveSlots gives the slots of a backend of the service to another.
func (w *world) leaveSlots(t *testing.T, backend string) {
	t.Helper()
	service := w.keepingService(t)
	for position := range service.SlotCount {
		var id uint32
		at := service.SlotOffset + position
		if err := w.maps[bpf.MapSlots].Lookup(at, &id); err != nil {
			t.Fatal(err)
		}
		if w.backendAt(t, id) == backend {
			other := service.SlotOffset + (position+1)%service.SlotCount
			if err := w.maps[bpf.MapSlots].Put(at, other); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// retire marks a backend of the service as one that has left its slots.
func (w *world) retire(t *testing.T, backend string) {
	t.Helper()
	service := w.keepingService(t)
	for id := service.SlotOffset; id < service.SlotOffset+service.SlotCount; id++ { // as program numbers them
		var b bpf.Backend
		if err := w.maps[bpf.MapBackends].Lookup(id, &b); err != nil {
			t.Fatal(err)
		}
		if bpf.AddrFrom(b.Addr).String() != backend {
			continue
		}
		b.Flags |= bpf.BackendRetired
		if err := w.maps[bpf.MapBackends].Put(id, &b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSYNSentAgainLeavesARetiredBackend: a handshake that the backend has not
// answered when it leaves the service does not hang on it, and one that it has
// goes on.
func TestSYNSentAgainLeavesARetiredBackend(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(keepingState("b1:1", "b2:1", "b3:1"), nil); err != nil {
			t.Fatal(err)
		}
		before := w.chosen(t, hook, "far", 1000, 1000, 2000)
		answer := tcpPacket(before+":1", "vip:2000", syn|ack)
		if w.send(t, hook, "server0", answer) == nil {
			t.Fatal("the answer was not sent")
		}
		w.retire(t, before)
		w.leaveSlots(t, before)
		if after := w.chosen(t, hook, "far", 1000, 1000); after == before {
			t.Errorf("a SYN that was sent again went to %s, which has left", before)
		}
		if after := w.chosen(t, hook, "far", 2000); after != before {
			t.Errorf("a connection that %s had answered went to %s", before, after)
		}
		if w.send(t, hook, "server0", tcpPacket(before+":1", "vip:1000", syn|ack)) != nil {
			t.Error("an answer of the backend that was given up came through")
		}
	})
}
