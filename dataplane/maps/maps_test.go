package maps

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/plan"
)

var (
	vip  = netip.MustParseAddr("192.0.2.1")
	web  = v1.Frontend{VIP: vip, Port: 0x1234, Protocol: v1.SCTP}
	pod  = netip.MustParseAddrPort("10.1.2.3:8080")
	node = netip.MustParseAddr("10.9.8.7")
)

// mustMaps makes the maps of the real object, without its programs.
func mustMaps(t *testing.T) (*Maps, map[string]*ebpf.Map) {
	t.Helper()
	spec, err := bpf.LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	if err := bpf.SizeCache(spec, 1, 4*flowBatch); err != nil {
		t.Fatal(err)
	}
	loaded := map[string]*ebpf.Map{}
	for _, name := range bpf.MapNames() {
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			t.Fatalf("make map %s: %v", name, err)
		}
		t.Cleanup(func() { m.Close() })
		loaded[name] = m
	}
	maps, err := New(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return maps, loaded
}

// What the programs read is in network order, byte by byte.
func TestByteOrder(t *testing.T) {
	maps, loaded := mustMaps(t)
	must(t, maps.PutVIP(vip, plan.VIP{Active: true, Ports: plan.PortRange{Min: 1024, Max: 2047}}))
	must(t, maps.PutVIP(node, plan.VIP{Retired: true}))
	must(t, maps.PutService(web, plan.Service{ID: 7, Slots: plan.Region{Offset: 5, Count: 2}, Mode: v1.ModeFullNAT, Algorithm: v1.Hash,
		Affinity: 0x0102, Restricted: true}))
	must(t, maps.PutSource(7, netip.MustParsePrefix("198.51.100.7/24")))
	must(t, maps.PutBackend(3, plan.Backend{Service: 7, Address: pod, NodeAddress: node}))
	tests := []struct {
		name string
		m    *ebpf.Map
		key  []byte
		want []byte
	}{
		{"VIP", loaded[bpf.MapVIPs], []byte{192, 0, 2, 1}, []byte{1, 0, 0, 0, 0x00, 0x04, 0xff, 0x07}},
		{"retired VIP", loaded[bpf.MapVIPs], []byte{10, 9, 8, 7}, []byte{2, 0, 0, 0, 0, 0, 0, 0}},
		{"service", loaded[bpf.MapServices], []byte{192, 0, 2, 1, 0x12, 0x34, 132, 0},
			[]byte{7, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 2, 1, 1, 0, 2, 1, 0, 0}},
		{"source", loaded[bpf.MapSources], []byte{56, 0, 0, 0, 7, 0, 0, 0, 198, 51, 100, 0}, []byte{1, 0, 0, 0}},
		{"backend", loaded[bpf.MapBackends], []byte{3, 0, 0, 0},
			[]byte{10, 1, 2, 3, 0x1f, 0x90, 0, 0, 10, 9, 8, 7, 7, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.m.LookupBytes(tt.key)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("value\n% x, want\n% x", got, tt.want)
			}
		})
	}
}

func TestObserveReturnsWhatWasWritten(t *testing.T) {
	maps, _ := mustMaps(t)
	backend := plan.Backend{Service: 1, Address: pod, NodeAddress: node, Local: true, LB: true, Retired: true}
	service := plan.Service{ID: 1, Slots: plan.Region{Offset: 8, Count: 3}, Mode: v1.ModeDefault, Algorithm: v1.Hash,
		Affinity: 10800, Restricted: true}
	everybody := netip.MustParsePrefix("0.0.0.0/0")
	address := plan.VIP{Retired: true, Ports: plan.PortRange{Min: 40000, Max: 65535}}
	must(t, maps.PutBackend(9, backend))
	must(t, maps.PutSlots(8, []uint32{9, 9, 9}))
	must(t, maps.PutSource(1, everybody))
	must(t, maps.PutService(web, service))
	must(t, maps.PutVIP(vip, address))
	got, err := maps.Observe()
	must(t, err)
	want := []plan.Step{
		plan.PutBackend{ID: 9, Backend: backend},
		plan.PutSource{Service: 1, Prefix: everybody},
		plan.PutService{Frontend: web, Service: service, IDs: []uint32{9, 9, 9}},
		plan.PutVIP{Address: vip, VIP: address},
	}
	comparable := cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
	must(t, maps.DeleteVIP(vip))
	must(t, maps.DeleteService(web))
	must(t, maps.PutBackend(9, plan.Backend{}))
	for range 2 { // deleting what is absent is success
		must(t, maps.DeleteVIP(vip))
		must(t, maps.DeleteService(web))
		must(t, maps.DeleteSource(1, everybody))
	}
	got, err = maps.Observe()
	must(t, err)
	if len(got) > 0 {
		t.Errorf("after all is deleted: %+v", got)
	}
}

// An address is a backend's for as long as one backend has it.
func TestBackendAddressesAreCounted(t *testing.T) {
	maps, loaded := mustMaps(t)
	other := netip.AddrPortFrom(node, 8080)
	for _, step := range []struct {
		id        uint32
		address   netip.AddrPort
		pod, node uint32
	}{
		{1, pod, 1, 0}, {1, pod, 1, 0}, {2, pod, 2, 0}, {3, other, 2, 1}, {2, other, 1, 2},
		{1, netip.AddrPort{}, 0, 2}, {1, netip.AddrPort{}, 0, 2}, {2, netip.AddrPort{}, 0, 1}, {3, netip.AddrPort{}, 0, 0},
	} {
		must(t, maps.PutBackend(step.id, plan.Backend{Address: step.address}))
		for address, want := range map[netip.Addr]uint32{pod.Addr(): step.pod, node: step.node} {
			var got uint32
			err := loaded[bpf.MapBackendAddrs].Lookup(bpf.Addr(address), &got)
			if got != want || (want == 0) != errors.Is(err, ebpf.ErrKeyNotExist) {
				t.Errorf("after backend %d became %s, %s is counted %d (%v), want %d", step.id, step.address, address, got, err, want)
			}
		}
	}
}

func TestSlotsAreBounded(t *testing.T) {
	maps, _ := mustMaps(t)
	size := maps.Limits().Slots
	must(t, maps.PutSlots(uint32(size-2), []uint32{1, 2}))
	if err := maps.PutSlots(uint32(size-1), []uint32{1, 2}); err == nil {
		t.Error("a write over the end of the map is accepted")
	}
}

func TestCountersAddUpCPUsAndHooks(t *testing.T) {
	maps, loaded := mustMaps(t)
	cpus := ebpf.MustPossibleCPU()
	each := func(c bpf.Counter, h bpf.Hook, n uint64) {
		perCPU := make([]uint64, cpus)
		for i := range perCPU {
			perCPU[i] = n
		}
		must(t, loaded[bpf.MapCounters].Put(c.Index(h), perCPU))
	}
	each(bpf.CounterIn, bpf.HookXDP, 10)
	each(bpf.CounterIn, bpf.HookTC, 4)
	each(bpf.CounterForwarded, bpf.HookXDP, 6)
	each(bpf.CounterPassed, bpf.HookXDP, 4)
	each(bpf.DropNoFlow, bpf.HookTC, 4)
	each(bpf.CounterAnswered, bpf.HookTC, 3)
	got, err := maps.Counters()
	must(t, err)
	n := uint64(cpus)
	if got.In != 14*n || got.Forwarded != 6*n || got.Passed != 4*n || got.Answered != 3*n {
		t.Errorf("got %+v, want multiples of %d CPUs: in 14, forwarded 6, passed 4, answered 3", got, n)
	}
	seen := map[string]uint64{}
	for _, d := range got.Drops {
		seen[d.Reason] = d.Count
	}
	if seen["no_flow"] != 4*n || len(seen) != len(bpf.Counters())-4 {
		t.Errorf("drops %v, want no_flow %d and every other reason at 0", seen, 4*n)
	}
}

// The element of config has two writers, and neither takes from the other.
func TestConfigKeepsWhatOthersWrote(t *testing.T) {
	maps, loaded := mustMaps(t)
	must(t, maps.SetNexthopGeneration(7))
	must(t, maps.SetOwnPorts(plan.PortRange{Min: 1024, Max: 32767}))
	must(t, maps.SetNexthopGeneration(8))
	var got bpf.Config
	must(t, loaded[bpf.MapConfig].Lookup(uint32(0), &got))
	if want := (bpf.Config{NexthopGeneration: 8, OwnPortMin: 1024, OwnPortMax: 32767}); got != want {
		t.Errorf("config is %+v, want %+v", got, want)
	}
}

func TestNewNamesAMissingMap(t *testing.T) {
	_, loaded := mustMaps(t)
	delete(loaded, bpf.MapSlots)
	if _, err := New(loaded); err == nil || err.Error() != "find map slots: the BPF object does not have it; rebuild weir" {
		t.Errorf("got %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
