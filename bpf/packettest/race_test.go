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
	w.do(func() { namespace, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0) })
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

// The answer promotes the flow while the client sends: nothing is missed.
func TestRaceOfPromotion(t *testing.T) {
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
