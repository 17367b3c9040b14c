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
	sweptFlows = 100_000
	// batches of packets are timed one by one. The two kinds take turns, because
	// what else the machine does comes and goes.
	batches, perBatch, turns = 100, 50, 5
	// medianRatio and p99Ratio are how much longer a batch may take while flows
	// are swept: packets may meet cold caches, but no lock that a sweep holds.
	medianRatio, p99Ratio = 2, 5
	// tcRedirect is TC_ACT_REDIRECT: the packet took the way of a flow.
	tcRedirect = 7
)

// Packets of an established flow take as long while 100 000 others are swept.
func TestSweepsDoNotDisturbPackets(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc", MaxFlows: 1 << 18})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA), serviceOn(53, v1.UDP, v1.ModeFullNAT, podA))
	n.where(t, d, 1) // a datagram would not wait until the pod's MAC is known
	if _, err := n.ask(t, "udp4", 53); err != nil {
		t.Fatal(err)
	}
	key := crowd(t, d)
	options := ebpf.RunOptions{Data: datagram(t, key), Context: received(t, "eth1")}

	var alone, beside []time.Duration
	sweeps := 0
	for range turns {
		alone = append(alone, timed(t, d.loaded.TC, options)...)
		stop := sweeping(t, d)
		beside = append(beside, timed(t, d.loaded.TC, options)...)
		sweeps += stop()
	}
	slices.Sort(alone)
	slices.Sort(beside)
	at := func(of []time.Duration, percent int) time.Duration { return of[len(of)*percent/100] }
	t.Logf("%d packets: median %v, p99 %v; beside %d sweeps of %d flows: median %v, p99 %v",
		perBatch, at(alone, 50), at(alone, 99), sweeps, sweptFlows, at(beside, 50), at(beside, 99))
	if sweeps == 0 {
		t.Error("no sweep ended meanwhile")
	}
	if at(beside, 50) > medianRatio*at(alone, 50) {
		t.Errorf("the median is more than %d times as long", medianRatio)
	}
	if at(beside, 99) > p99Ratio*at(alone, 99) {
		t.Errorf("p99 is more than %d times as long", p99Ratio)
	}
}

// crowd puts flows beside the one of UDP that is established, and returns the
// client's key of that.
func crowd(t *testing.T, d *Dataplane) bpf.FlowKey {
	t.Helper()
	var key bpf.FlowKey
	var value bpf.Flow
	must(t, d.maps.EachFlow(maps.Established, func(k bpf.FlowKey, f bpf.Flow) {
		if k.Proto == v1.UDP.Number() && f.Flags&bpf.FlowReply == 0 {
			key, value = k, f
		}
	}))
	if key.Proto == 0 {
		t.Fatal("no flow is established")
	}
	other := key
	for i := range sweptFlows {
		other.Saddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}))
		other.Sport = bpf.Port(uint16(1024 + i>>16))
		if inserted, err := d.maps.InsertFlow(maps.Established, other, value); err != nil || !inserted {
			t.Fatalf("insert flow %d: %v, %v", i, inserted, err)
		}
	}
	return key
}

// timed runs batches and returns the CPU time of each. Waiting for a lock is in
// it, as programs spin; that others, the sweep too, get the CPU meanwhile is not.
func timed(t *testing.T, program *ebpf.Program, options ebpf.RunOptions) []time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := make([]time.Duration, batches)
	for i := range took {
		start := threadTime(t)
		for range perBatch { // each by itself, since a repeated one would be what came out
			if verdict, err := program.Run(&options); err != nil || verdict != tcRedirect {
				t.Fatalf("batch %d: verdict %d, %v; want %d", i, verdict, err, tcRedirect)
			}
		}
		took[i] = threadTime(t) - start
	}
	return took
}

// threadTime is the CPU time of the calling thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now))
	return time.Duration(now.Nano())
}

// sweeping sweeps without a pause until stop, which returns how often.
func sweeping(t *testing.T, d *Dataplane) (stop func() int) {
	t.Helper()
	clock, err := flow.NewClock(d.loaded.Clock)
	must(t, err)
	_, err = clock.Now(t.Context()) // the first takes a tenth of a second
	must(t, err)
	table := flow.New(d.maps, clock, d.maps.FlowCapacity())
	var over atomic.Bool
	sweeps := make(chan int)
	go func() {
		n := 0
		for !over.Load() {
			swept, err := table.Sweep(context.Background(), time.Now(), flow.Policy{})
			if err != nil || swept.Established < sweptFlows {
				t.Errorf("sweep: %+v, %v", swept.Established, err)
				break
			}
			n++
		}
		sweeps <- n
	}()
	return func() int {
		over.Store(true)
		return <-sweeps
	}
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
