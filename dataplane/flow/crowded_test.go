package flow

import (
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

func TestClosedConnectionsWaitLessInACrowdedTable(t *testing.T) {
	const million = 1 << 20
	for _, tt := range []struct {
		entries, capacity uint32
		want              time.Duration
	}{
		{0, 0, tcpClosing},
		{0, 1000, tcpClosing},
		{750, 1000, tcpClosing},
		{800, 1000, 45500 * time.Millisecond},
		{850, 1000, 31 * time.Second},
		{900, 1000, 16500 * time.Millisecond},
		{950, 1000, hurriedClosing},
		{1000, 1000, hurriedClosing},
		{million, million, hurriedClosing},
		{1 << 31, 1<<32 - 1, tcpClosing},
		{1<<32 - 1, 1<<32 - 1, hurriedClosing},
	} {
		if got := closedFor(tt.entries, tt.capacity); got != tt.want {
			t.Errorf("%d of %d entries: %v, want %v", tt.entries, tt.capacity, got, tt.want)
		}
	}
}

// In a table of 20 entries, 16 are 80 %: what is closed may wait for 45.5 s then,
// and nothing else is hurried.
func TestSweepMakesRoom(t *testing.T) {
	tests := []struct {
		name     string
		protocol v1.Protocol
		state    uint8
		idle     time.Duration
		capacity uint32
		left     int
	}{
		{"closed and long idle", v1.TCP, bpf.FlowClosing, 49 * time.Second, 20, 0},
		{"closed lately", v1.TCP, bpf.FlowClosing, 47 * time.Second, 20, 16},
		{"closed lately, in a full table", v1.TCP, bpf.FlowClosing, 6 * time.Second, 16, 0},
		{"closed just now, in a full table", v1.TCP, bpf.FlowClosing, 4 * time.Second, 16, 16},
		{"closed, with room left", v1.TCP, bpf.FlowClosing, 59 * time.Second, 22, 16},
		{"SCTP, closed lately, in a full table", v1.SCTP, bpf.FlowClosing, 6 * time.Second, 16, 0},
		{"established, in a full table", v1.TCP, bpf.FlowEstablished, 2 * time.Hour, 16, 16},
		{"UDP, in a full table", v1.UDP, bpf.FlowEstablished, 299 * time.Second, 16, 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			for i := range uint16(8) {
				key, pair := m.connection(maps.Established, tt.protocol, tt.state, tt.idle, tt.idle)
				m.shift(key, pair, i)
			}
			swept, err := New(m, ticks{}, tt.capacity).Sweep(t.Context(), time.Unix(1, 0), Policy{})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(m.tables[maps.Established]); got != tt.left || swept.Established != uint32(tt.left) || swept.Found != 16 {
				t.Errorf("%d entries are left, want %d; the sweep says %+v", got, tt.left, swept)
			}
			if want := (16 - tt.left) / 2; swept.Removed != want || (m.dropped > 0) != (want > 0) {
				t.Errorf("removed %d connections, want %d; copies dropped %d times", swept.Removed, want, m.dropped)
			}
		})
	}
}

// shift gives a connection other ports than its like.
func (m *memory) shift(key, pair bpf.FlowKey, by uint16) {
	table := m.tables[maps.Established]
	there, back := table[key], table[pair]
	delete(table, key)
	delete(table, pair)
	key.Sport, there.Sport, back.Dport = bpf.Port(1000+by), bpf.Port(2000+by), bpf.Port(1000+by)
	table[key], table[maps.PairKey(key, there)] = there, back
}

func TestPace(t *testing.T) {
	const capacity = 1_000_000 // 950 000 are full
	start := time.Unix(1000, 0)
	for _, tt := range []struct {
		name        string
		left, found uint32 // after a sweep, and ten seconds later
		leftThen    uint32
		want        time.Duration
	}{
		{"nothing comes", 500_000, 500_000, 500_000, lazily},
		{"fewer than before", 500_000, 400_000, 400_000, lazily},
		{"room for 95 s", 0, 100_000, 0, lazily},
		{"room for 11 s at 50 000 a second", 0, 500_000, 400_000, 5500 * time.Millisecond},
		{"room for a second at 80 000 a second", 70_000, 870_000, 870_000, hurriedly},
		{"no room", 500_000, 960_000, 960_000, hurriedly},
		{"full", 1_000_000, 1_000_000, 1_000_000, hurriedly},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Pace
			p.Next(start, Swept{Established: tt.left}, capacity)
			got := p.Next(start.Add(10*time.Second), Swept{Found: tt.found, Established: tt.leftThen}, capacity)
			if got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	var p Pace
	if got := p.Next(start, Swept{Found: 500_000, Established: 500_000}, capacity); got != lazily {
		t.Errorf("adopted half full: %v", got)
	}
}
