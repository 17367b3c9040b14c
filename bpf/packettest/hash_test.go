package packettest

import (
	"fmt"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// hashed is a service whose backend is chosen by hash.
const hashed = 95

func hashedState(backends ...string) *state {
	s := newState()
	s.frontends = append(s.frontends, frontend{tcp, hashed, bpf.ModeFullnat, backends, ""})
	s.algorithms[hashed] = bpf.AlgorithmHash
	return s
}

// Two nodes choose alike for each flow, whatever each has seen before, and two flows of a client
// do not depend on each other.
func TestHashChoosesAlikeOnAllNodes(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		three := []string{"b1:1", "b2:1", "b3:1"}
		if err := w.program(hashedState(three...), nil); err != nil {
			t.Fatal(err)
		}
		chosen := func(client string) string {
			out := w.send(t, hook, "", tcpPacket(client, fmt.Sprintf("vip:%d", hashed), syn))
			if out == nil {
				t.Fatalf("SYN from %s was not sent", client)
			}
			return fmt.Sprintf("198.51.100.%d", out[33])
		}
		// Clients that differ in their address alone, and in their port alone.
		var clients []string
		for i := range 150 {
			clients = append(clients, fmt.Sprintf("198.18.0.%d:40000", 1+i), fmt.Sprintf("far:%d", 50000+i))
		}
		first, spread := map[string]string{}, map[string]int{}
		for i, client := range clients {
			first[client] = chosen(client)
			spread[fmt.Sprintf("%s of kind %d", first[client], i%2)]++
		}
		if len(spread) != 6 {
			t.Errorf("clients of two kinds got %v, want three backends each", spread)
		}
		for backend, n := range spread {
			if n < 30 || n > 70 {
				t.Errorf("%s got %d of 150 flows, want about 50", backend, n)
			}
		}

		// Another node: other ids, slots at another place, and flows in another order.
		other := hashedState(three...)
		other.frontends = append([]frontend{{tcp, 96, bpf.ModeFullnat, []string{"b3:1", "b2:1"}, ""}}, other.frontends...)
		if err := w.program(other, nil); err != nil {
			t.Fatal(err)
		}
		for i := range clients {
			client := clients[len(clients)-1-i]
			if got := chosen(client); got != first[client] {
				t.Errorf("another node gives %s %s, this one gave %s", client, got, first[client])
			}
		}
	})
}

// The slot table has the weights, and hashing keeps them.
func TestHashKeepsWeights(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(hashedState("b1:1", "b2:1", "b1:1"), nil); err != nil {
			t.Fatal(err)
		}
		got := map[byte]int{}
		for i := range 300 {
			out := w.send(t, hook, "", tcpPacket(fmt.Sprintf("client:%d", 10000+i), fmt.Sprintf("vip:%d", hashed), syn))
			if out == nil {
				t.Fatalf("SYN %d was not sent", i)
			}
			got[out[33]]++
		}
		if b1, b2 := got[11], got[12]; b1 < 170 || b1 > 230 || b1+b2 != 300 {
			t.Fatalf("b1 got %d, b2 %d of 300 flows, want about 200 and 100", b1, b2)
		}
	})
}

// Clients that keep their backend keep it here too: affinity wins.
func TestHashLeavesClientsTheirBackend(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		s := keepingState("b1:1", "b2:1", "b3:1")
		s.algorithms[keeping] = bpf.AlgorithmHash
		if err := w.program(s, nil); err != nil {
			t.Fatal(err)
		}
		ports := make([]int, 20)
		for i := range ports {
			ports[i] = 1000 + i
		}
		w.chosen(t, hook, "far", ports...)
	})
}
