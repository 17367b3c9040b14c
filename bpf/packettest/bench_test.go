package packettest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
)

const (
	benchRepeat = 400_000
	benchRounds = 9
)

// benchCase is a stream of packets that is measured.
type benchCase struct {
	name    string
	packets []pkt
}

// benchCases returns established flows, a stranger and large SCTP packets. Their
// flows must be in the tables: see benchEntries.
func benchCases(hook bpf.Hook) []benchCase {
	flows := func(n int) []pkt {
		var packets []pkt
		for i := range n {
			packets = append(packets, tcpPacket(benchClient(i), "vip:80", ack).padded(64))
		}
		return packets
	}
	cases := []benchCase{
		{"tcp", flows(1)},
		{"udp", []pkt{udpPacket("client:1", "vip:53", "0123456789abcdef").padded(64)}},
		{"sctp64", []pkt{sctpPacket("client:1", "vip:9999", chunkSack).withPayload(16).padded(64)}},
		{"sctp1500", []pkt{sctpPacket("client:1", "vip:9999", chunkData).withPayload(1452)}},
		{"other", []pkt{tcpPacket("client:1", "b2:80", ack).padded(64)}},
		{"tcp1024flows", flows(1024)},
		{"tcp8192flows", flows(8192)},
	}
	if hook == bpf.HookXDP {
		cases = append(cases, benchCase{"sctp3000", []pkt{sctpPacket("client:1", "vip:9999", chunkData).withPayload(2952)}})
	}
	return cases
}

func benchClient(i int) string {
	return fmt.Sprintf("%s:%d", netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 1000+i)
}

func benchEntries() []string {
	entries := both(pair("flows", "established", "udp", "client:1", "vip:53", "vip:2", "b1:5353"),
		pair("flows", "established", "sctp", "client:1", "vip:9999", "vip:3", "b1:9998"))
	for i := range 8192 {
		entries = append(entries, pair("flows", "established", "tcp", benchClient(i), "vip:80", fmt.Sprintf("vip:%d", 1000+i), "b1:8080")[0])
	}
	return entries
}

// bench is the benchmarks' own object, for one hook.
type bench struct {
	w              *world
	hook           bpf.Hook
	objects        benchObjects
	target         *ebpf.Map
	wrapper, floor *ebpf.Program
}

func newBench(b *testing.B, hook bpf.Hook) *bench {
	b.Helper()
	x := &bench{w: newWorld(b), hook: hook}
	if err := loadBenchObjects(&x.objects, nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.objects.Close() })
	x.target, x.wrapper, x.floor = x.objects.TcTarget, x.objects.WrapTc, x.objects.FloorTc
	if hook == bpf.HookXDP {
		x.target, x.wrapper, x.floor = x.objects.XdpTarget, x.objects.WrapXdp, x.objects.FloorXdp
	}
	if err := x.w.program(newState(), benchEntries()); err != nil {
		b.Fatal(err)
	}
	return x
}

// load writes a stream's headers into the templates and returns a frame of it.
func (x *bench) load(b *testing.B, c benchCase) []byte {
	b.Helper()
	var frame []byte
	for i, p := range c.packets {
		r := row{in: p}
		if p.src.Addr().As4()[0] == 198 {
			r.in = p.withMACs(macOf("gateway"), r.device().mac())
		}
		frame = r.frame()
		template := make([]byte, 64)
		copy(template[:56], frame)
		if err := x.objects.Templates.Put(uint32(i), template); err != nil {
			b.Fatal(err)
		}
		// Once by itself, so that each flow has its next hop.
		if _, _, err := x.w.run(x.hook, r.device(), frame, 0); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.objects.FlowMask.Set(uint32(len(c.packets) - 1)); err != nil {
		b.Fatal(err)
	}
	return frame
}

// time returns nanoseconds for one run of program, as the mean of many.
func (x *bench) time(b *testing.B, program *ebpf.Program, frame []byte) float64 {
	b.Helper()
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64), Repeat: benchRepeat,
		Context: runContext(x.hook, nicByName("client0"), len(frame), 0)}
	var elapsed time.Duration
	var err error
	x.w.do(func() {
		start := threadTime()
		_, err = program.Run(options)
		elapsed = threadTime() - start
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(elapsed.Nanoseconds()) / benchRepeat
}

func (x *bench) aim(b *testing.B, program *ebpf.Program) {
	b.Helper()
	if err := x.target.Put(uint32(0), program); err != nil {
		b.Fatal(err)
	}
}

// run measures the stream in rounds, each with the floor (MAC swap alone) and the
// wrapper around the floor, and reports medians: floor, net (weir through the
// wrapper less the floor through the wrapper) and net in multiples of the floor.
func (x *bench) run(b *testing.B, c benchCase) {
	frame := x.load(b, c)
	var floor, net []float64
	for b.Loop() {
		for range benchRounds {
			floor = append(floor, x.time(b, x.floor, frame))
			x.aim(b, x.floor)
			wrapped := x.time(b, x.wrapper, frame)
			x.aim(b, x.w.programs[x.hook])
			net = append(net, x.time(b, x.wrapper, frame)-wrapped)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(floor), "floor-ns")
	b.ReportMetric(median(net), "net-ns")
	b.ReportMetric(median(net)/median(floor), "x-floor")
	if c.name == "other" {
		return
	}
	if counters, err := x.w.counters(x.hook); err != nil || counters[bpf.CounterForwarded] < benchRepeat {
		b.Fatalf("the stream was not forwarded: %v, %v", counters, err)
	}
}

// threadTime is the CPU time of the calling thread: others may want the CPU too.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// Established packets through a hook's program. Run with -benchtime 1x.
func BenchmarkXDP(b *testing.B) { benchHook(b, bpf.HookXDP) }
func BenchmarkTC(b *testing.B)  { benchHook(b, bpf.HookTC) }

func benchHook(b *testing.B, hook bpf.Hook) {
	for _, c := range benchCases(hook) {
		b.Run(c.name, func(b *testing.B) { newBench(b, hook).run(b, c) })
	}
}

// A first packet: both entries are made, by a new client each time.
func BenchmarkFirstPacket(b *testing.B) {
	for _, hook := range []bpf.Hook{bpf.HookXDP, bpf.HookTC} {
		b.Run(hook.String(), func(b *testing.B) {
			w := newWorld(b)
			if err := w.program(newState(), nil); err != nil {
				b.Fatal(err)
			}
			r := row{in: tcpPacket("far:1", "vip:80", syn).withMACs(macOf("gateway"), nicByName("client0").mac())}
			stranger := row{in: tcpPacket("far:1", "b2:80", syn).withMACs(macOf("gateway"), nicByName("client0").mac())}
			var first, base time.Duration
			n := 0
			for b.Loop() {
				first += w.timeStream(b, hook, r.frame(), n)
				base += w.timeStream(b, hook, stranger.frame(), n)
				n++
			}
			b.ReportMetric(float64((first-base).Nanoseconds())/float64(n)/streamLength, "net-ns")
		})
	}
}

const streamLength = 10_000

// timeStream runs a packet of each of streamLength clients, one call each.
func (w *world) timeStream(b *testing.B, hook bpf.Hook, frame []byte, round int) (elapsed time.Duration) {
	b.Helper()
	options := &ebpf.RunOptions{Data: frame, Context: runContext(hook, nicByName("client0"), len(frame), 0)}
	w.do(func() {
		start := threadTime()
		for i := range streamLength {
			binary.BigEndian.PutUint32(frame[26:], 198<<24|18<<16+uint32(round*streamLength+i)%130_000)
			if _, err := w.programs[hook].Run(options); err != nil {
				b.Fatal(err)
			}
		}
		elapsed = threadTime() - start
	})
	return elapsed
}
