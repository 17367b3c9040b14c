package flow

import (
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

// speak counts a packet of the client's in flows_new.
func (m *memory) speak(k bpf.FlowKey) {
	f := m.tables[maps.HalfOpen][k]
	f.Packets++
	m.tables[maps.HalfOpen][k] = f
}

func mustSweep(t *testing.T, table *Table) Swept {
	t.Helper()
	swept, err := table.Sweep(t.Context(), time.Unix(1, 0), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	return swept
}

func TestUnansweredUDPIsPromotedByAge(t *testing.T) {
	tests := []struct {
		name     string
		protocol v1.Protocol
		state    uint8
		change   func(m *memory, key, reply bpf.FlowKey) // between the sweeps
		want     int
	}{
		{"one that goes on speaking", v1.UDP, bpf.FlowHalfOpen, func(m *memory, key, _ bpf.FlowKey) { m.speak(key) }, 1},
		{"one that fell silent", v1.UDP, bpf.FlowHalfOpen, func(*memory, bpf.FlowKey, bpf.FlowKey) {}, 0},
		{"repeated SYNs are no connection", v1.TCP, bpf.FlowHalfOpen, func(m *memory, key, _ bpf.FlowKey) { m.speak(key) }, 0},
		{"what was refused stays", v1.UDP, bpf.FlowClosing, func(m *memory, key, _ bpf.FlowKey) { m.speak(key) }, 0},
		{"one without its reply entry", v1.UDP, bpf.FlowHalfOpen, func(m *memory, key, reply bpf.FlowKey) {
			m.speak(key)
			delete(m.tables[maps.HalfOpen], reply)
		}, 0},
		{"one whose tuple is another's in flows", v1.UDP, bpf.FlowHalfOpen, func(m *memory, key, reply bpf.FlowKey) {
			m.speak(key)
			m.tables[maps.Established][reply] = bpf.Flow{State: bpf.FlowEstablished, Packets: 1, LastSeen: now}
		}, 0},
		{"one that is being replaced", v1.UDP, bpf.FlowHalfOpen, func(m *memory, key, _ bpf.FlowKey) {
			m.speak(key)
			f := m.tables[maps.HalfOpen][key]
			f.Flags |= bpf.FlowTaken
			m.tables[maps.HalfOpen][key] = f
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			key, reply := m.connection(maps.HalfOpen, tt.protocol, tt.state, 0, 0)
			table := New(m, ticks{}, 64)
			if n := mustSweep(t, table).Promoted; n != 0 {
				t.Fatalf("promoted %d at the first sight", n)
			}
			tt.change(m, key, reply)
			others := len(m.tables[maps.Established])
			if n := mustSweep(t, table).Promoted; n != tt.want {
				t.Errorf("promoted %d, want %d", n, tt.want)
			}
			if got := len(m.tables[maps.Established]) - others; got != 2*tt.want {
				t.Errorf("%d entries more in flows, want %d", got, 2*tt.want)
			}
			if tt.want == 0 {
				return
			}
			there, back := m.tables[maps.Established][key], m.tables[maps.Established][reply]
			if there.State != bpf.FlowEstablished || back.State != bpf.FlowEstablished || there.Packets != 3 {
				t.Errorf("in flows: %+v and %+v", there, back)
			}
			if rest := m.tables[maps.HalfOpen][key]; rest.State != bpf.FlowEstablished {
				t.Errorf("the rest in flows_new is in state %d, want established: it would be counted twice", rest.State)
			}
		})
	}
}

// An entry of flows_new may become another connection's while it is read, and that
// one's way is not this one's: a promoted flow asks for its own.
func TestPromotionByAgeKeepsNoNextHop(t *testing.T) {
	m := newMemory()
	key, reply := m.connection(maps.HalfOpen, v1.UDP, bpf.FlowHalfOpen, 0, 0)
	for _, k := range []bpf.FlowKey{key, reply} {
		f := m.tables[maps.HalfOpen][k]
		f.Nexthop = 1<<16 | 9
		m.tables[maps.HalfOpen][k] = f
	}
	table := New(m, ticks{}, 64)
	mustSweep(t, table)
	m.speak(key)
	if n := mustSweep(t, table).Promoted; n != 1 {
		t.Fatalf("promoted %d, want 1", n)
	}
	for k, f := range m.tables[maps.Established] {
		if f.Nexthop != 0 {
			t.Errorf("%+v has next hop %#x in flows, want none", k, f.Nexthop)
		}
	}
}

func TestPromotionByAgeHasAQuota(t *testing.T) {
	m := newMemory()
	table := New(m, ticks{}, 64) // 4 connections
	var keys []bpf.FlowKey
	for i := range 10 {
		key, reply := m.connection(maps.HalfOpen, v1.UDP, bpf.FlowHalfOpen, 0, 0)
		there, back := m.tables[maps.HalfOpen][key], m.tables[maps.HalfOpen][reply]
		delete(m.tables[maps.HalfOpen], key)
		delete(m.tables[maps.HalfOpen], reply)
		key.Sport, there.Sport = bpf.Port(uint16(50000+i)), bpf.Port(uint16(50000+i))
		back.Dport, back.Packets = key.Sport, 0
		m.tables[maps.HalfOpen][key], m.tables[maps.HalfOpen][maps.PairKey(key, there)] = there, back
		keys = append(keys, key)
	}
	total := 0
	for range 20 {
		total += mustSweep(t, table).Promoted
		for _, k := range keys {
			m.speak(k)
		}
	}
	if total != 4 || len(m.tables[maps.Established]) != 8 {
		t.Errorf("promoted %d, %d entries in flows; want the quota of 4", total, len(m.tables[maps.Established]))
	}
}
