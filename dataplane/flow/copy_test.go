package flow

import (
	"errors"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

// copyOf returns what a CPU's copy of an entry looks like.
func copyOf(k bpf.FlowKey, f bpf.Flow, packets uint32, bytes uint64, idle time.Duration) bpf.Cached {
	c := bpf.Cached{Key: k, Packets: packets, Bytes: bytes, LastSeen: now - uint32(idle.Milliseconds())}
	c.Rewrite.Saddr, c.Rewrite.Daddr, c.Rewrite.Sport, c.Rewrite.Dport = f.Saddr, f.Daddr, f.Sport, f.Dport
	return c
}

// What CPUs have counted apart is in what is shown, and what they counted for an
// earlier connection with the same key is not.
func TestReadAddsWhatCopiesHaveCounted(t *testing.T) {
	m := newMemory()
	key, pair := m.connection(maps.Established, v1.TCP, bpf.FlowEstablished, 2*time.Second, 3*time.Second)
	forward, reply := m.tables[maps.Established][key], m.tables[maps.Established][pair]
	earlier := reply
	earlier.Sport++
	unknown := key
	unknown.Sport++
	m.copies = []bpf.Cached{
		copyOf(key, forward, 5, 500, 100*time.Millisecond), copyOf(key, forward, 1, 60, time.Second), // of two CPUs
		copyOf(pair, earlier, 7, 700, 0), copyOf(unknown, forward, 9, 900, 0),
	}
	entries, err := New(m, ticks{}, 64).Read(t.Context())
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		want := Entry{Key: key, Flow: forward, Idle: 100 * time.Millisecond}
		want.Flow.Packets, want.Flow.Bytes = 8, 860
		if e.Key == pair {
			want = Entry{Key: pair, Flow: reply, Idle: 3 * time.Second}
		}
		if e != want {
			t.Errorf("got %+v, want %+v", e, want)
		}
	}
}

// A copy would send a client's datagrams to the backend that has gone.
func TestForgetDropsCopies(t *testing.T) {
	m := newMemory()
	m.connection(maps.Established, v1.UDP, bpf.FlowEstablished, time.Second, time.Second)
	table := New(m, ticks{}, 64)
	if n, err := table.Forget(t.Context(), Policy{}); n != 0 || err != nil || m.dropped != 0 {
		t.Fatalf("nothing has gone: forgot %d, %v, dropped copies %d times", n, err, m.dropped)
	}
	if n, err := table.Forget(t.Context(), Policy{Gone: map[uint32]bool{7: true}}); n != 1 || err != nil || m.dropped != 1 {
		t.Errorf("forgot %d, %v, dropped copies %d times, want 1 of each", n, err, m.dropped)
	}
}

// What was removed before something failed was removed all the same.
func TestCopiesAreDroppedWhereRemovalBreaksOff(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tables []maps.FlowTable
		refuse int
		remove func(*Table) error
	}{
		{"sweep, between directions", []maps.FlowTable{maps.Established}, 2, func(table *Table) error {
			_, err := table.Sweep(t.Context(), time.Unix(1, 0), Policy{})
			return err
		}},
		{"forget, between tables", []maps.FlowTable{maps.HalfOpen, maps.Established}, 2, func(table *Table) error {
			_, err := table.Forget(t.Context(), Policy{Gone: map[uint32]bool{7: true}})
			return err
		}},
	} {
		m := newMemory()
		m.refuse = tt.refuse
		for _, in := range tt.tables {
			m.connection(in, v1.UDP, bpf.FlowEstablished, time.Hour, time.Hour)
		}
		if err := tt.remove(New(m, ticks{}, 64)); !errors.Is(err, errRefused) || m.dropped != 1 {
			t.Errorf("%s: %v, dropped copies %d times, want once", tt.name, err, m.dropped)
		}
	}
}
