package dataplane

import (
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/flow"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/maps"
)

const (
	// sweptFlows are entries: a connection has two.
	sweptFlows = 100_000
	// batches of packets are timed one by one at each hook. What is timed alone and
	// beside sweeps takes turns, because what else the machine does comes and goes.
	// A sweep that removes flows lasts many times as long.
	batches, perBatch, turns, dueTurns = 100, 50, 5, 2
	// medianRatio and p99Ratio are how much longer a batch may take while flows
	// are swept: packets may meet cold caches, but no lock that a sweep holds.
	medianRatio, p99Ratio = 2, 5
	// tcRedirect is TC_ACT_REDIRECT, xdpRedirect XDP_REDIRECT: the packet took the
	// way of a flow.
	tcRedirect, xdpRedirect = 7, 4
)

// Packets of an established flow take as long, at TC and at XDP, while 100 000
// entries of others are swept: while none of these are due, and while half are.
func TestSweepsDoNotDisturbPackets(t *testing.T) {
	n := mustNetwork(t)
	n.forXDP(t)
	serve(t, n.a)
	d, end := mustStart(t, Options{Hook: "xdp", MaxFlows: 1 << 18})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA), serviceOn(53, v1.UDP, v1.ModeFullNAT, podA))
	n.where(t, d, 1) // a datagram would not wait until the pod's MAC is known
	if _, err := n.ask(t, "udp4", 53); err != nil {
		t.Fatal(err)
	}
	end() // Run sweeps too
	one := answered(t, d)
	clock, err := flow.NewClock(d.loaded.Clock)
	must(t, err)
	_, err = clock.Now(t.Context()) // the first takes a tenth of a second
	must(t, err)
	table := flow.New(d.maps, clock, d.maps.FlowCapacity())
	frame := datagram(t, one.key)
	hooks := []hooked{
		{"tc", d.loaded.TC, ebpf.RunOptions{Data: frame, Context: received(t, "eth1")}, tcRedirect},
		{"xdp", d.loaded.XDP, ebpf.RunOptions{Data: frame, Context: receivedXDP(t, "eth1", len(frame))}, xdpRedirect},
	}

	const half = sweptFlows / 2 / 2
	one.crowd(t, d, 0, half, 0)
	if testing.Short() { // on a machine that is emulated, which has little time and much noise
		hooks = hooks[:1]
	} else {
		t.Run("half of them due", func(t *testing.T) {
			expectUndisturbed(t, table, hooks, dueTurns, half, func() { one.crowd(t, d, half, half, aged) })
		})
	}
	one.crowd(t, d, half, half, 0)
	t.Run("none due", func(t *testing.T) { expectUndisturbed(t, table, hooks, turns, 0, func() {}) })
}

// hooked is a program that runs by itself, and what it makes of the packet.
type hooked struct {
	name    string
	program *ebpf.Program
	options ebpf.RunOptions
	verdict uint32
}

// expectUndisturbed times packets alone and beside sweeps, in turns, each of which
// is prepared, and whose first sweep removes as many connections as are due.
func expectUndisturbed(t *testing.T, table *flow.Table, hooks []hooked, turns, due int, prepare func()) {
	t.Helper()
	alone, beside := make([][]time.Duration, len(hooks)), make([][]time.Duration, len(hooks))
	sweeps := 0
	for range turns {
		prepare()
		timed(t, hooks, alone, func() bool { return true })
		s := sweeping(table)
		timed(t, hooks, beside, s.first.Load)
		swept := s.stop(t)
		sweeps += len(swept)
		if first := swept[0]; first.Removed < due || first.Established < uint32(sweptFlows-2*due) {
			t.Errorf("the first sweep removed %d connections and left %d entries, want %d of %d entries", first.Removed, first.Established, due, sweptFlows)
		}
	}
	at := func(of []time.Duration, percent int) time.Duration { return of[len(of)*percent/100] }
	for i, h := range hooks {
		slices.Sort(alone[i])
		slices.Sort(beside[i])
		t.Logf("%s, %d packets: median %v, p99 %v in %d; beside %d sweeps: median %v, p99 %v in %d", h.name, perBatch,
			at(alone[i], 50), at(alone[i], 99), len(alone[i]), sweeps, at(beside[i], 50), at(beside[i], 99), len(beside[i]))
		if at(beside[i], 50) > medianRatio*at(alone[i], 50) {
			t.Errorf("%s: the median is more than %d times as long", h.name, medianRatio)
		}
		if at(beside[i], 99) > p99Ratio*at(alone[i], 99) {
			t.Errorf("%s: p99 is more than %d times as long", h.name, p99Ratio)
		}
	}
}

// pair is one connection: the client's entry and that of its answers.
type pair struct {
	key          bpf.FlowKey
	value, reply bpf.Flow
}

// answered returns the one of UDP.
func answered(t *testing.T, d *Dataplane) pair {
	t.Helper()
	var p pair
	must(t, d.maps.EachFlow(maps.Established, func(k bpf.FlowKey, f bpf.Flow) {
		switch {
		case k.Proto != v1.UDP.Number():
		case f.Flags&bpf.FlowReply == 0:
			p.key, p.value = k, f
		default:
			p.reply = f
		}
	}))
	if p.key.Proto == 0 || p.reply.Flags == 0 {
		t.Fatal("no flow is established")
	}
	return p
}

// aged is an age in ticks that no time-out outlasts: twelve days where HZ is 1000.
const aged = 1 << 30

// crowd puts n others beside it, from the first of them on, which were seen so many
// ticks before it.
func (p pair) crowd(t *testing.T, d *Dataplane, first, n int, age uint32) {
	t.Helper()
	insert := func(k bpf.FlowKey, f bpf.Flow) {
		if inserted, err := d.maps.InsertFlow(maps.Established, k, f); err != nil || !inserted {
			t.Fatalf("insert flow %+v: %v, %v", k, inserted, err)
		}
	}
	p.value.LastSeen -= age
	p.reply.LastSeen -= age
	for i := first; i < first+n; i++ {
		p.key.Saddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}))
		p.value.Daddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 8, byte(i >> 8), byte(i)}))
		p.reply.Daddr = p.key.Saddr
		insert(p.key, p.value)
		insert(maps.PairKey(p.key, p.value), p.reply)
	}
}

// timed runs batches of each program in turn, goes on until enough, and adds the CPU
// time of each. Waiting for a lock is in it, as programs spin; that others, the
// sweep too, get the CPU meanwhile is not.
func timed(t *testing.T, hooks []hooked, took [][]time.Duration, enough func() bool) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for n := 0; n < batches*len(hooks) || !enough(); n++ {
		i := n % len(hooks)
		h := &hooks[i]
		start := threadTime(t)
		for range perBatch { // each by itself, since a repeated one would be what came out
			if verdict, err := h.program.Run(&h.options); err != nil || verdict != h.verdict {
				t.Fatalf("%s, batch %d: verdict %d, %v; want %d", h.name, n, verdict, err, h.verdict)
			}
		}
		took[i] = append(took[i], threadTime(t)-start)
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now))
	return time.Duration(now.Nano())
}

// sweeps go on without a pause until stop.
type sweeps struct {
	first  atomic.Bool // of them has ended
	over   atomic.Bool
	result chan []flow.Swept
	err    error
}

// sweeping begins.
func sweeping(table *flow.Table) *sweeps {
	s := &sweeps{result: make(chan []flow.Swept, 1)}
	go func() {
		var all []flow.Swept
		for len(all) == 0 || !s.over.Load() {
			swept, err := table.Sweep(context.Background(), time.Now(), flow.Policy{})
			if s.err = err; err != nil {
				break
			}
			all = append(all, swept)
			s.first.Store(true)
		}
		s.first.Store(true)
		s.result <- all
	}()
	return s
}

// stop returns what each of them did; one at least.
func (s *sweeps) stop(t *testing.T) []flow.Swept {
	t.Helper()
	s.over.Store(true)
	all := <-s.result
	must(t, s.err)
	return all
}

// datagram is a client's of a flow, without a checksum.
func datagram(t *testing.T, k bpf.FlowKey) []byte {
	t.Helper()
	const ethernet, ipv4, udp, payload = 14, 20, 8, 22
	frame := make([]byte, ethernet+ipv4+udp+payload)
	copy(frame, nstest.MustLink(t, "eth1").Attrs().HardwareAddr)
	copy(frame[ethernet-2:], []byte{8, 0})
	ip := frame[ethernet:]
	ip[0], ip[8], ip[9] = 0x45, 64, k.Proto
	binary.BigEndian.PutUint16(ip[2:], ipv4+udp+payload)
	binary.NativeEndian.PutUint32(ip[12:], k.Saddr)
	binary.NativeEndian.PutUint32(ip[16:], k.Daddr)
	sum := uint32(0)
	for i := 0; i < ipv4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	binary.NativeEndian.PutUint16(ip[ipv4:], k.Sport)
	binary.NativeEndian.PutUint16(ip[ipv4+2:], k.Dport)
	binary.BigEndian.PutUint16(ip[ipv4+4:], udp+payload)
	return frame
}

// received is the part of a struct __sk_buff that says where a packet came in.
func received(t *testing.T, name string) []byte {
	t.Helper()
	const ingressIfindex, ifindex, size = 36, 40, 192
	skb := make([]byte, size)
	index := uint32(nstest.MustLink(t, name).Attrs().Index)
	binary.NativeEndian.PutUint32(skb[ingressIfindex:], index)
	binary.NativeEndian.PutUint32(skb[ifindex:], index)
	return skb
}

// receivedXDP is the struct xdp_md of a packet of so many bytes that came in there.
func receivedXDP(t *testing.T, name string, length int) []byte {
	t.Helper()
	const dataEnd, ingressIfindex, size = 4, 12, 24
	md := make([]byte, size)
	binary.NativeEndian.PutUint32(md[dataEnd:], uint32(length))
	binary.NativeEndian.PutUint32(md[ingressIfindex:], uint32(nstest.MustLink(t, name).Attrs().Index))
	return md
}
