package packettest

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
)

const raceRounds = 1500

// cpu is a thread bound to one CPU inside the namespace.
type cpu struct {
	tasks chan func()
}

// newCPUs returns two, on different CPUs if the machine has them.
func newCPUs(t *testing.T, w *world) [2]*cpu {
	t.Helper()
	var namespace int
	var err error
	w.do(func() { namespace, err = openNamespace() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(namespace) })
	var cpus [2]*cpu
	for i := range cpus {
		cpus[i] = &cpu{tasks: make(chan func())}
		started := make(chan error)
		go cpus[i].live(namespace, i, started)
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { close(cpus[i].tasks) })
	}
	return cpus
}

func (c *cpu) live(namespace, number int, started chan<- error) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(number % runtime.NumCPU())
	err := unix.Setns(namespace, unix.CLONE_NEWNET)
	if err == nil {
		err = unix.SchedSetaffinity(0, &set)
	}
	started <- err
	if err != nil {
		return
	}
	for task := range c.tasks {
		task()
	}
}

// together runs both packets at the same moment and returns what was sent.
func (w *world) together(t *testing.T, cpus [2]*cpu, hook bpf.Hook, from [2]string, packets [2]pkt) (out [2][]byte) {
	t.Helper()
	var ready atomic.Int32
	var done [2]chan error
	for i, c := range cpus {
		r := row{in: packets[i], from: from[i]}
		frame, device := r.frame(), r.device()
		options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64),
			Context: runContext(hook, device, len(frame), 0)}
		done[i] = make(chan error, 1)
		c.tasks <- func() {
			ready.Add(1)
			for ready.Load() < 2 {
				runtime.Gosched()
			}
			verdict, err := w.programs[hook].Run(options)
			if hook == bpf.HookXDP && (verdict == xdpTX || verdict == xdpRedirect) || hook == bpf.HookTC && verdict == tcRedirect {
				out[i] = options.DataOut
			}
			done[i] <- err
		}
	}
	for i := range done {
		if err := <-done[i]; err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// consistent checks that each client's entry has a reply entry that leads back to
// it, and that no two clients share one.
func (w *world) consistent(t *testing.T) {
	t.Helper()
	all := make(map[bpf.FlowKey]bpf.Flow)
	for _, table := range []string{bpf.MapFlowsNew, bpf.MapFlows} { // flows is looked up first
		var key bpf.FlowKey
		var flow bpf.Flow
		for it := w.maps[table].Iterate(); it.Next(&key, &flow); {
			all[key] = flow
		}
	}
	owners := make(map[bpf.FlowKey]bpf.FlowKey)
	for key, flow := range all {
		if flow.Flags&bpf.FlowReply != 0 {
			continue
		}
		replyKey := bpf.FlowKey{Saddr: flow.Daddr, Daddr: flow.Saddr, Sport: flow.Dport, Dport: flow.Sport, Proto: key.Proto}
		reply, ok := all[replyKey]
		if !ok {
			t.Errorf("no reply entry for %s", entryText("any", key, flow))
		} else if reply.Daddr != key.Saddr || reply.Dport != key.Sport || reply.Saddr != key.Daddr || reply.Sport != key.Dport {
			t.Errorf("%s is answered to another: %s", entryText("any", key, flow), entryText("any", replyKey, reply))
		}
		if other, shared := owners[replyKey]; shared {
			t.Errorf("%s and %s share a tuple", entryText("any", key, flow), nameOf(other.Saddr, other.Sport))
		}
		owners[replyKey] = key
	}
}

func races(t *testing.T, given []string, test func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook)) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(newState(), given); err != nil {
			t.Fatal(err)
		}
		test(t, w, newCPUs(t, w), hook)
		w.consistent(t)
		w.audit(t, hook, w.counter(t, hook, bpf.CounterIn))
	})
}

// Two CPUs see a SYN of one client at once, and each would choose another
// backend: both packets take the same way.
func TestRaceOfOneClient(t *testing.T) {
	races(t, nil, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		w.together(t, cpus, hook, [2]string{}, [2]pkt{tcpPacket("client2:1", "vip:83", syn), tcpPacket("client2:2", "vip:80", syn)})
		for i := range raceRounds {
			p := tcpPacket(fmt.Sprintf("client:%d", 2000+i), "vip:83", syn)
			out := w.together(t, cpus, hook, [2]string{}, [2]pkt{p, p})
			if out[0] == nil || !bytes.Equal(out[0], out[1]) {
				t.Fatalf("round %d: two ways:\n%s", i, describe(p.bytes(), out[0], out[1]))
			}
		}
	})
}

// Two clients with one source port at once: both are served, by different ports.
func TestRaceOfTwoClients(t *testing.T) {
	races(t, nil, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		for i := range raceRounds {
			port := 2000 + i
			out := w.together(t, cpus, hook, [2]string{}, [2]pkt{
				tcpPacket(fmt.Sprintf("client:%d", port), "vip:80", syn),
				tcpPacket(fmt.Sprintf("client2:%d", port), "vip:80", syn)})
			if out[0] == nil || out[1] == nil || bytes.Equal(out[0][26:38], out[1][26:38]) {
				t.Fatalf("round %d: %s%s", i, layersOf(out[0]), layersOf(out[1]))
			}
		}
	})
}

// The client's acknowledgement promotes the flow while others of its packets pass:
// nothing is missed, whatever it meets.
func TestRaceOfPromotion(t *testing.T) {
	meets := []struct {
		name, from string
		packet     func(client, source string) pkt
	}{
		{"the answer", "server0", func(_, source string) pkt { return tcpPacket("b1:8080", source, syn|ack) }},
		{"the backend's data", "server0", func(_, source string) pkt { return tcpPacket("b1:8080", source, ack|psh) }},
		{"the client's data", "", func(client, _ string) pkt { return tcpPacket(client, "vip:80", ack|psh) }},
		{"the client's FIN", "", func(client, _ string) pkt { return tcpPacket(client, "vip:80", fin|ack) }},
		{"the backend's FIN", "server0", func(_, source string) pkt { return tcpPacket("b1:8080", source, fin|ack) }},
	}
	races(t, nil, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		for i := range raceRounds {
			meet := meets[i%len(meets)]
			client, source := fmt.Sprintf("client:%d", 2000+i), fmt.Sprintf("vip:%d", 2000+i)
			if w.send(t, hook, "", tcpPacket(client, "vip:80", syn)) == nil ||
				w.send(t, hook, "server0", tcpPacket("b1:8080", source, syn|ack)) == nil {
				t.Fatal("SYN or its answer was not sent")
			}
			out := w.together(t, cpus, hook, [2]string{"", meet.from}, [2]pkt{
				tcpPacket(client, "vip:80", ack), meet.packet(client, source)})
			if out[0] == nil || out[1] == nil {
				t.Fatalf("round %d: a packet was missed when the acknowledgement met %s", i, meet.name)
			}
		}
		if n := w.count(t, bpf.MapFlows); n != 2*raceRounds {
			t.Errorf("%d entries in flows, want two for each of %d connections", n, raceRounds)
		}
	})
}

// The first answer comes while the client, who had it by another way, sends on.
func TestRaceOfAnswer(t *testing.T) {
	races(t, nil, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		for i := range raceRounds {
			client, source := fmt.Sprintf("client:%d", 2000+i), fmt.Sprintf("vip:%d", 2000+i)
			if w.send(t, hook, "", tcpPacket(client, "vip:80", syn)) == nil {
				t.Fatal("the SYN was not sent")
			}
			out := w.together(t, cpus, hook, [2]string{"", "server0"}, [2]pkt{
				tcpPacket(client, "vip:80", ack), tcpPacket("b1:8080", source, syn|ack)})
			if out[0] == nil || out[1] == nil {
				t.Fatalf("round %d: a packet was missed", i)
			}
		}
	})
}

// Both ends close at once, each on a CPU of its own: the flow is closed, and does
// not stay for the hours that an open one has.
func TestRaceOfTwoFINs(t *testing.T) {
	races(t, nil, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		for i := range raceRounds {
			w.connect(t, hook, 2000+i)
			client, source := fmt.Sprintf("client:%d", 2000+i), fmt.Sprintf("vip:%d", 2000+i)
			w.together(t, cpus, hook, [2]string{"", "server0"}, [2]pkt{
				tcpPacket(client, "vip:80", fin|ack), tcpPacket("b1:8080", source, fin|ack)})
		}
		var key bpf.FlowKey
		var flow bpf.Flow
		for it := w.maps[bpf.MapFlows].Iterate(); it.Next(&key, &flow); {
			if flow.State != bpf.FlowClosing {
				t.Fatalf("both ends have closed: %s", entryText(bpf.MapFlows, key, flow))
			}
		}
	})
}

// count returns how many entries a map has.
func (w *world) count(t *testing.T, name string) int {
	t.Helper()
	n := 0
	key, value := make([]byte, w.maps[name].KeySize()), make([]byte, w.maps[name].ValueSize())
	it := w.maps[name].Iterate()
	for it.Next(&key, &value) {
		n++
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// Two clients want the tuple of a closed flow at once: one gets it, the other one
// another port.
func TestRaceForClosedFlow(t *testing.T) {
	var given []string
	for i := range raceRounds {
		given = append(given, pair("flows", "closing", "tcp", fmt.Sprintf("far:%d", 2000+i), "vip:80",
			fmt.Sprintf("vip:%d", 2000+i), "b1:8080")...)
	}
	races(t, given, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		for i := range raceRounds {
			out := w.together(t, cpus, hook, [2]string{}, [2]pkt{
				tcpPacket(fmt.Sprintf("client:%d", 2000+i), "vip:80", syn),
				tcpPacket(fmt.Sprintf("client2:%d", 2000+i), "vip:80", syn)})
			if out[0] == nil || out[1] == nil || bytes.Equal(out[0][26:38], out[1][26:38]) {
				t.Fatalf("round %d: %s%s", i, layersOf(out[0]), layersOf(out[1]))
			}
		}
	})
}

// A client's closed flow is renewed on one CPU while another wants its tuple.
func TestRaceOfRenewal(t *testing.T) {
	var given []string
	for i := range raceRounds {
		given = append(given, pair("flows", "closing", "tcp", fmt.Sprintf("client:%d", 2000+i), "vip:80",
			fmt.Sprintf("vip:%d", 2000+i), "b1:8080")...)
	}
	races(t, given, func(t *testing.T, w *world, cpus [2]*cpu, hook bpf.Hook) {
		for i := range raceRounds {
			out := w.together(t, cpus, hook, [2]string{}, [2]pkt{
				tcpPacket(fmt.Sprintf("client:%d", 2000+i), "vip:80", syn),
				tcpPacket(fmt.Sprintf("client2:%d", 2000+i), "vip:80", syn)})
			if out[1] == nil || bytes.Equal(out[0], out[1]) {
				t.Fatalf("round %d: %s%s", i, layersOf(out[0]), layersOf(out[1]))
			}
		}
		if n := w.counter(t, hook, bpf.DropContended); n > 0 {
			t.Logf("%d of %d SYNs met a CPU that was replacing their flow, and must be sent again", n, raceRounds)
		}
	})
}
