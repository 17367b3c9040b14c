package dataplane

import (
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	bpfmaps "github.com/weir-lb/weir/dataplane/maps"
)

// A table that closed connections have filled has room again after one sweep, and
// the flow that stands has not noticed.
func TestClosedConnectionsLeaveAFullTable(t *testing.T) {
	const size = 4096
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc", MaxFlows: size})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA), serviceOn(53, v1.UDP, v1.ModeFullNAT, podA))
	n.where(t, d, 1) // a datagram would not wait until the pod's MAC is known
	var conn net.Conn
	var err error
	n.client.Do(t, func() { conn, err = net.Dial("udp4", netip.AddrPortFrom(vip, 53).String()) })
	must(t, err)
	defer conn.Close()
	echo := func() {
		t.Helper()
		must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, err := conn.Write([]byte("hello"))
		must(t, err)
		_, err = conn.Read(make([]byte, 100))
		must(t, err)
	}
	echo()

	standing := established(t, d)
	maps.DeleteFunc(standing, func(k bpf.FlowKey, _ bpf.Flow) bool { return k.Proto != v1.UDP.Number() })
	if len(standing) != 2 {
		t.Fatalf("%d entries of the flow that stands, want 2", len(standing))
	}
	for i := range size * 97 / 200 {
		insertClosed(t, d, standing, i)
	}
	next, err := d.sweep(t.Context())
	must(t, err)
	left := established(t, d)
	for k := range standing {
		if _, there := left[k]; !there {
			t.Errorf("the flow that stands lost the entry %+v", k)
		}
	}
	if len(left) > len(standing)+2 { // where's may have ended lately
		t.Errorf("%d entries are left of %d", len(left), size*97/100)
	}
	if next <= 0 || next > 10*time.Second {
		t.Errorf("the next sweep comes after %v", next)
	}
	echo()
}

func established(t *testing.T, d *Dataplane) map[bpf.FlowKey]bpf.Flow {
	t.Helper()
	all := map[bpf.FlowKey]bpf.Flow{}
	must(t, d.maps.EachFlow(bpfmaps.Established, func(k bpf.FlowKey, f bpf.Flow) { all[k] = f }))
	return all
}

// closedTicks ago is between 6 and 60 s, whatever HZ the kernel has: a closed
// connection waits for less only in a crowded table.
const closedTicks = 6000

// insertClosed puts a TCP connection that has been closed beside the flow that
// like are the entries of.
func insertClosed(t *testing.T, d *Dataplane, like map[bpf.FlowKey]bpf.Flow, number int) {
	t.Helper()
	for key, there := range like {
		if there.Flags&bpf.FlowReply != 0 {
			continue
		}
		back := like[bpfmaps.PairKey(key, there)]
		key.Proto = v1.TCP.Number()
		key.Saddr = bpf.Addr(netip.AddrFrom4([4]byte{10, 9, byte(number >> 8), byte(number)}))
		there.Sport, back.Daddr = bpf.Port(uint16(10_000+number)), key.Saddr
		there.State, back.State = bpf.FlowClosing, bpf.FlowClosing
		there.LastSeen -= closedTicks
		back.LastSeen = there.LastSeen
		for k, f := range map[bpf.FlowKey]bpf.Flow{key: there, bpfmaps.PairKey(key, there): back} {
			if inserted, err := d.maps.InsertFlow(bpfmaps.Established, k, f); err != nil || !inserted {
				t.Fatalf("insert flow %d: %v, %v", number, inserted, err)
			}
		}
	}
}
