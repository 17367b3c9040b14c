package dataplane

import (
	"context"
	"encoding/binary"
	"math/bits"
	"net"
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
	// way of a flow. tcNext is TCX_NEXT, xdpPass XDP_PASS: it was none of weir's.
	tcRedirect, xdpRedirect = 7, 4
	tcNext, xdpPass         = 1<<32 - 1, 2
)

// Packets that ask the table of established flows, and those by which flows are made,
// take as long, at TC and at XDP, while 100 000 entries of others are swept: while none
// of these are due, and while half are.
func TestSweepsDoNotDisturbPackets(t *testing.T) {
	n := mustNetwork(t)
	n.forXDP(t)
	serve(t, n.a)
	nstest.MustRoute(t, "10.7.0.0/16", "192.0.2.2") // to new clients
	nstest.MustRoute(t, "10.8.0.0/16", "10.0.1.2")  // to the backends of the crowd
	d, end := mustStart(t, Options{Hook: "xdp", MaxFlows: 1 << 18})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA), serviceOn(53, v1.UDP, v1.ModeFullNAT, podA),
		serviceOn(newPort, v1.UDP, v1.ModeDefault, podA))
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
	length := len(one.datagram("eth1", one.key))
	hooks := []hooked{
		{"tc", d.loaded.TC, tcRedirect, tcNext, map[string][]byte{"eth1": received(t, "eth1"), "eth2": received(t, "eth2")}},
		{"xdp", d.loaded.XDP, xdpRedirect, xdpPass, map[string][]byte{
			"eth1": receivedXDP(t, "eth1", length), "eth2": receivedXDP(t, "eth2", length),
		}},
	}

	one.crowd(t, d, 0, half, 0)
	if testing.Short() { // on a machine that is emulated, which has little time and much noise
		hooks = hooks[:1]
	} else {
		t.Run("half of them due", func(t *testing.T) {
			expectUndisturbed(t, d, table, one, hooks, dueTurns, half, func() { one.crowd(t, d, half, half, aged) })
		})
	}
	one.crowd(t, d, half, half, 0)
	t.Run("none due", func(t *testing.T) { expectUndisturbed(t, d, table, one, hooks, turns, 0, func() {}) })
}

// half are connections: the first so many are never due, and are those that are timed.
const half = sweptFlows / 2 / 2

// newPort is that of the service whose flows are made while they are timed.
const newPort = 54

// hooked is a program that runs by itself, what it makes of packets of flows and of
// what is no packet of IP, and its context at each interface.
type hooked struct {
	name     string
	program  *ebpf.Program
	verdict  uint32
	passed   uint32
	contexts map[string][]byte
}

// run is a frame that comes in at an interface.
type run struct {
	iface string
	frame []byte
}

// options are what Program.Run takes.
func (h hooked) options(runs []run) []ebpf.RunOptions {
	all := make([]ebpf.RunOptions, len(runs))
	for i, r := range runs {
		all[i] = ebpf.RunOptions{Data: r.frame, Context: h.contexts[r.iface]}
	}
	return all
}

// timing is what is timed at a hook.
type timing struct {
	hooked

	what string
	// runs are those of the n-th batch, after which done clears up and looks whether
	// all went the way that is meant.
	runs func(n int) []run
	done func(t *testing.T, n int)
	sent int // batches

	alone, beside times
}

// times are what batches took, and what of that remains without what the calls cost:
// that would hide in the median what the tables do. It does not in p99, for which what
// interrupts a call now and then would count as the table's.
type times struct{ whole, net []time.Duration }

func (a *times) add(whole, calls time.Duration) {
	a.whole, a.net = append(a.whole, whole), append(a.net, whole-calls)
}

// median is that of net, p99 that of whole.
func (a *times) median() time.Duration { slices.Sort(a.net); return a.net[len(a.net)/2] }
func (a *times) p99() time.Duration    { slices.Sort(a.whole); return a.whole[len(a.whole)*99/100] }

// timings are packets of established flows and of new ones, at each hook.
func (p pair) timings(d *Dataplane, hooks []hooked) (all []*timing) {
	for _, h := range hooks {
		all = append(all,
			&timing{hooked: h, what: ofKnown, runs: p.known, done: func(*testing.T, int) {}},
			&timing{hooked: h, what: "new flows", runs: p.first, done: func(t *testing.T, n int) { p.forget(t, d, n) }})
	}
	return all
}

const ofKnown = "established flows"

// known are packets of the crowd, each of another flow, of which no CPU has a copy.
func (p pair) known(n int) (runs []run) {
	for i := range perBatch {
		runs = append(runs, run{"eth1", p.datagram("eth1", p.other((n*perBatch+i)%half).key)})
	}
	return runs
}

// first are the datagrams and answers that make a flow in flows_new and in flows.
func (p pair) first(n int) (runs []run) {
	for i := range perBatch {
		key, reply := p.anew(n*perBatch + i)
		runs = append(runs, run{"eth1", p.datagram("eth1", key)}, run{"eth2", p.datagram("eth2", reply)})
	}
	return runs
}

// anew are the keys of a new flow, which keeps its client's address.
func (p pair) anew(i int) (key, reply bpf.FlowKey) {
	key = p.key
	key.Saddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}))
	key.Dport = bpf.Port(newPort)
	return key, bpf.FlowKey{Saddr: p.value.Daddr, Sport: p.value.Dport, Daddr: key.Saddr, Dport: key.Sport, Proto: key.Proto}
}

// forget removes what first has made of the n-th batch, which has to be there.
func (p pair) forget(t *testing.T, d *Dataplane, n int) {
	t.Helper()
	for i := range perBatch {
		key, reply := p.anew(n*perBatch + i)
		for _, k := range []bpf.FlowKey{key, reply} {
			if _, found, err := d.maps.Flow(maps.Established, k); err != nil || !found {
				t.Fatalf("new flow %+v: %t, %v; want it established", k, found, err)
			}
			must(t, d.maps.DeleteFlow(maps.Established, k))
			must(t, d.maps.DeleteFlow(maps.HalfOpen, k))
		}
	}
}

// asked counts the packets that the table itself knows of from the flows that are
// timed, and those of them that went by copies since these were made.
func asked(t *testing.T, d *Dataplane, one pair) (packets, copied uint64) {
	t.Helper()
	timed := map[uint32]bool{}
	for i := range half {
		timed[one.other(i).key.Saddr] = true
	}
	must(t, d.maps.EachFlow(maps.Established, func(k bpf.FlowKey, f bpf.Flow) {
		if timed[k.Saddr] {
			packets += f.Packets
		}
	}))
	must(t, d.maps.EachCopy(func(c bpf.Cached) {
		if timed[c.Key.Saddr] {
			copied += uint64(c.Packets)
		}
	}))
	return packets, copied
}

// expectUndisturbed times packets alone and beside sweeps, in turns, each of which
// is prepared, and whose first sweep removes as many connections as are due.
func expectUndisturbed(t *testing.T, d *Dataplane, table *flow.Table, one pair, hooks []hooked, turns, due int, prepare func()) {
	t.Helper()
	timings := one.timings(d, hooks)
	before, _ := asked(t, d, one)
	sweeps := 0
	for range turns {
		prepare()
		timed(t, d, timings, func(i *timing) *times { return &i.alone }, func() bool { return true })
		s := sweeping(table)
		timed(t, d, timings, func(i *timing) *times { return &i.beside }, s.first.Load)
		swept := s.stop(t)
		sweeps += len(swept)
		if first := swept[0]; first.Removed < due || first.Established < uint32(sweptFlows-2*due) {
			t.Errorf("the first sweep removed %d connections and left %d entries, want %d of %d entries", first.Removed, first.Established, due, sweptFlows)
		}
	}
	sent := 0
	for _, i := range timings {
		median, p99, besideMedian, besideP99 := i.alone.median(), i.alone.p99(), i.beside.median(), i.beside.p99()
		t.Logf("%s, %d %s: median %v, p99 %v in %d; beside %d sweeps: median %v, p99 %v in %d", i.name, perBatch, i.what,
			median, p99, len(i.alone.net), sweeps, besideMedian, besideP99, len(i.beside.net))
		if besideMedian > medianRatio*median {
			t.Errorf("%s, %s: the median is more than %d times as long", i.name, i.what, medianRatio)
		}
		if besideP99 > p99Ratio*p99 {
			t.Errorf("%s, %s: p99 is more than %d times as long", i.name, i.what, p99Ratio)
		}
		if i.what == ofKnown {
			sent += i.sent * perBatch
		}
	}
	if after, copied := asked(t, d, one); after-before != uint64(sent) || copied != 0 {
		t.Errorf("%d packets asked flows and %d went by copies, want all of %d to ask", after-before, copied, sent)
	}
}

// pair is one connection: the client's entry and that of its answers.
type pair struct {
	key          bpf.FlowKey
	value, reply bpf.Flow
	// macs are those of the interfaces to client and pod.
	macs map[string]net.HardwareAddr
}

// answered returns the one of UDP.
func answered(t *testing.T, d *Dataplane) pair {
	t.Helper()
	p := pair{macs: map[string]net.HardwareAddr{}}
	for _, name := range []string{"eth1", "eth2"} {
		p.macs[name] = nstest.MustLink(t, name).Attrs().HardwareAddr
	}
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
		o := p.other(i)
		insert(o.key, o.value)
		insert(maps.PairKey(o.key, o.value), o.reply)
	}
}

// other is the i-th of those beside it.
func (p pair) other(i int) pair {
	p.key.Saddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}))
	p.value.Daddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 8, byte(i >> 8), byte(i)}))
	p.reply.Daddr = p.key.Saddr
	return p
}

// timed runs batches of each timing in turn, goes on until enough, and notes the CPU
// time of each, and that of as many runs right before it whose frame is of no protocol
// of weir's, which is what the calls cost. Waiting for a lock is
// in it, as programs spin; that others, the sweep too, get the CPU meanwhile is not.
func timed(t *testing.T, d *Dataplane, timings []*timing, into func(*timing) *times, enough func() bool) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer onOneCPU(t)()
	for n := 0; n < batches*len(timings) || !enough(); n++ {
		i := timings[n%len(timings)]
		runs := i.runs(i.sent)
		empty := make([]run, len(runs))
		for j, r := range runs {
			empty[j] = run{r.iface, slices.Clone(r.frame)}
			copy(empty[j].frame[12:], []byte{0x88, 0xb5}) // IEEE 802's EtherType for experiments
		}
		must(t, d.maps.DropCopies())
		calls := i.cpuTime(t, d, empty, i.passed)
		into(i).add(i.cpuTime(t, d, runs, i.verdict), calls)
		i.done(t, i.sent)
		i.sent++
	}
}

// onOneCPU keeps the calling thread on the first CPU that it may use, until what it
// returns is called. One that moves leaves the lines of its flows behind: beside sweeps and
// without, 50 packets at XDP took 25 us then in place of 5, and whose turn met that was chance.
func onOneCPU(t *testing.T) (release func()) {
	t.Helper()
	var all, one unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	for cpu := range len(all) * bits.UintSize {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	must(t, unix.SchedSetaffinity(0, &one))
	return func() { must(t, unix.SchedSetaffinity(0, &all)) }
}

// cpuTime is what the runs take, each of which has this verdict.
func (i *timing) cpuTime(t *testing.T, d *Dataplane, runs []run, want uint32) time.Duration {
	t.Helper()
	options := i.options(runs)
	start := threadTime(t)
	for n := range options { // each by itself, since a repeated one would be what came out
		if verdict, err := i.program.Run(&options[n]); err != nil || verdict != want {
			t.Fatalf("%s, %s, batch %d, run %d: verdict %d, %v; want %d; %s", i.name, i.what, i.sent, n, verdict, err, want, evidence(d))
		}
	}
	return threadTime(t) - start
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

// datagram is one of a flow that comes in at an interface, without a checksum.
func (p pair) datagram(iface string, k bpf.FlowKey) []byte {
	const ethernet, ipv4, udp, payload = 14, 20, 8, 22
	frame := make([]byte, ethernet+ipv4+udp+payload)
	copy(frame, p.macs[iface])
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
