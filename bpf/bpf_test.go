package bpf

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

func TestCounterNamesComeFromTheObject(t *testing.T) {
	for counter, want := range map[Counter]string{CounterIn: "in", CounterForwarded: "forwarded",
		CounterPassed: "passed", DropNoFlow: "no_flow", DropMTUExceeded: "mtu_exceeded", DropInternal: "internal"} {
		if got := counter.String(); got != want {
			t.Errorf("counter %d is %q, want %q", counter, got, want)
		}
	}
	seen := make(map[string]bool)
	for _, c := range Counters() {
		if seen[c.String()] {
			t.Errorf("two counters are called %s", c)
		}
		seen[c.String()] = true
		if c.IsDrop() != (c != CounterIn && c != CounterForwarded && c != CounterPassed && c != CounterAnswered) {
			t.Errorf("%s: IsDrop is %v", c, c.IsDrop())
		}
	}
}

func TestCountersFitTheMap(t *testing.T) {
	spec, err := LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	if rows, hooks := spec.Maps[MapCounters].MaxEntries, len(Hooks()); rows != uint32(hooks*MaxCounters) || Hook(hooks) != tcHookHOOK_END {
		t.Fatalf("the map has %d counters, Go expects %d for each of %d hooks", rows, MaxCounters, hooks)
	}
}

// All objects must agree on every shared map, or the others cannot be loaded
// over the maps of the first.
func TestObjectsShareTheirMaps(t *testing.T) {
	tc, err := LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	for object, load := range map[string]func() (*ebpf.CollectionSpec, error){"xdp": LoadXDP, "egress": LoadEgress} {
		other, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range MapNames() {
			a, b := tc.Maps[name], other.Maps[name]
			if a == nil || b == nil {
				t.Errorf("map %s is missing in an object", name)
			} else if a.Type != b.Type || a.KeySize != b.KeySize || a.ValueSize != b.ValueSize ||
				a.MaxEntries != b.MaxEntries || a.Flags != b.Flags {
				t.Errorf("%s: map %s differs: %v and %v", object, name, a, b)
			}
		}
	}
}

func TestOrder(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	if b := *(*[4]byte)(unsafe.Pointer(new(Addr(address)))); b != address.As4() {
		t.Errorf("Addr lies in memory as %v, want network order", b)
	}
	if got := AddrFrom(Addr(address)); got != address {
		t.Errorf("AddrFrom(Addr(%s)) is %s", address, got)
	}
	if b := *(*[2]byte)(unsafe.Pointer(new(Port(80)))); b != [2]byte{0, 80} {
		t.Errorf("Port lies in memory as %v, want network order", b)
	}
	if got := Port(Port(443)); got != 443 {
		t.Errorf("Port(Port(443)) is %d", got)
	}
}

func TestHZ(t *testing.T) {
	at := func(jiffies uint64, d time.Duration) Clock {
		return Clock{Jiffies: jiffies, Nanoseconds: uint64(d)}
	}
	for _, c := range []struct {
		ticks uint64
		after time.Duration
		want  uint32
	}{
		{25, 100 * time.Millisecond, 250},
		{26, 100 * time.Millisecond, 250},
		{251, time.Second, 250},
		{300, time.Second, 300},
		{999, time.Second, 1000},
		{20, 201 * time.Millisecond, 100},
		{25, 99 * time.Millisecond, 0}, // too short to tell
		{0, -time.Second, 0},           // the wrong way round
	} {
		if got := HZ(at(1000, time.Hour), at(1000+c.ticks, time.Hour+c.after)); got != c.want {
			t.Errorf("%d ticks in %s: %d Hz, want %d", c.ticks, c.after, got, c.want)
		}
	}
}

// The program tells the clocks of this kernel.
func TestReadClock(t *testing.T) {
	spec, err := LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	program, err := ebpf.NewProgram(spec.Programs[ProgramClock])
	if err != nil {
		t.Fatalf("load %s: %v; run as root", ProgramClock, err)
	}
	defer program.Close()
	read := func() (now Clock) {
		if _, err := program.Run(&ebpf.RunOptions{Context: Clock{}, ContextOut: &now}); err != nil {
			t.Fatal(err)
		}
		return now
	}
	first := read()
	timer := time.NewTimer(250 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	if hz := HZ(first, read()); hz == 0 {
		t.Fatal("two readings 250 ms apart tell no HZ")
	}
}
