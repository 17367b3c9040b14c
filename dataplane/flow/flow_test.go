package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/maps"
)

// memory is both tables. touch runs before each second look at an entry, as
// a packet would between listing and removal.
type memory struct {
	tables  [2]map[bpf.FlowKey]bpf.Flow
	touch   func(bpf.FlowKey)
	deleted []string
	copies  []bpf.Cached
	dropped int // how often copies were
	refuse  int // the removal that fails, from 1; 0: none
}

func newMemory() *memory {
	return &memory{tables: [2]map[bpf.FlowKey]bpf.Flow{{}, {}}}
}

func (m *memory) EachFlow(t maps.FlowTable, f func(bpf.FlowKey, bpf.Flow)) error {
	for k, v := range m.tables[t] {
		f(k, v)
	}
	return nil
}

func (m *memory) Flow(t maps.FlowTable, k bpf.FlowKey) (bpf.Flow, bool, error) {
	if m.touch != nil {
		m.touch(k)
	}
	f, ok := m.tables[t][k]
	return f, ok, nil
}

var errRefused = errors.New("refused")

func (m *memory) DeleteFlow(t maps.FlowTable, k bpf.FlowKey) error {
	if len(m.deleted)+1 == m.refuse {
		return errRefused
	}
	m.deleted = append(m.deleted, maps.FlowIn(k, m.tables[t][k]).Direction)
	delete(m.tables[t], k)
	return nil
}

func (m *memory) InsertFlow(t maps.FlowTable, k bpf.FlowKey, f bpf.Flow) (bool, error) {
	if _, there := m.tables[t][k]; there {
		return false, nil
	}
	m.tables[t][k] = f
	return true, nil
}

func (m *memory) EachCopy(f func(bpf.Cached)) error {
	for _, c := range m.copies {
		f(c)
	}
	return nil
}

func (m *memory) DropCopies() error {
	m.dropped++
	return nil
}

func (m *memory) ReplaceFlow(t maps.FlowTable, k bpf.FlowKey, f bpf.Flow) error {
	if _, there := m.tables[t][k]; there {
		m.tables[t][k] = f
	}
	return nil
}

// hz and now of the tests: one tick a millisecond, about to wrap.
const (
	hz  = 1000
	now = uint32(5)
)

type ticks struct{}

func (ticks) Now(context.Context) (Instant, error) { return Instant{jiffies: now, hz: hz}, nil }

var (
	client  = netip.MustParseAddrPort("198.51.100.1:40000")
	vip     = netip.MustParseAddrPort("192.0.2.1:80")
	backend = netip.MustParseAddrPort("10.0.0.1:8080")
	source  = netip.MustParseAddrPort("192.0.2.1:41000")
)

// connection puts both directions into a table, idle for so long.
func (m *memory) connection(t maps.FlowTable, protocol v1.Protocol, state uint8, forward, reply time.Duration) (bpf.FlowKey, bpf.FlowKey) {
	key := bpf.FlowKey{
		Saddr: bpf.Addr(client.Addr()), Sport: bpf.Port(client.Port()),
		Daddr: bpf.Addr(vip.Addr()), Dport: bpf.Port(vip.Port()), Proto: protocol.Number(),
	}
	seen := func(idle time.Duration) uint32 { return now - uint32(idle.Milliseconds()) }
	there := bpf.Flow{
		Saddr: bpf.Addr(source.Addr()), Sport: bpf.Port(source.Port()),
		Daddr: bpf.Addr(backend.Addr()), Dport: bpf.Port(backend.Port()),
		State: state, Service: 3, Backend: 7, LastSeen: seen(forward), Packets: 2, Bytes: 300,
	}
	back := bpf.Flow{
		Saddr: key.Daddr, Sport: key.Dport, Daddr: key.Saddr, Dport: key.Sport,
		State: state, Flags: bpf.FlowReply, Service: 3, Backend: 7, LastSeen: seen(reply), Packets: 1, Bytes: 100,
	}
	pair := maps.PairKey(key, there)
	m.tables[t][key], m.tables[t][pair] = there, back
	return key, pair
}

func TestSweep(t *testing.T) {
	tests := []struct {
		name           string
		table          maps.FlowTable
		protocol       v1.Protocol
		state          uint8
		forward, reply time.Duration
		left           int // entries
	}{
		{"TCP sleeps for two hours", maps.Established, v1.TCP, bpf.FlowEstablished, 2 * time.Hour, 2 * time.Hour, 2},
		{"TCP goes when its keepalive is overdue", maps.Established, v1.TCP, bpf.FlowEstablished, 2*time.Hour + 5*time.Minute, 2*time.Hour + 5*time.Minute, 0},
		{"the other direction keeps it", maps.Established, v1.TCP, bpf.FlowEstablished, 3 * time.Hour, time.Second, 2},
		{"one direction only downloads", maps.Established, v1.UDP, bpf.FlowEstablished, 0, time.Hour, 2},
		{"closed TCP waits", maps.Established, v1.TCP, bpf.FlowClosing, 50 * time.Second, 50 * time.Second, 2},
		{"closed TCP goes", maps.Established, v1.TCP, bpf.FlowClosing, 64 * time.Second, 64 * time.Second, 0},
		{"a SYN waits for its answer", maps.HalfOpen, v1.TCP, bpf.FlowHalfOpen, 29 * time.Second, 29 * time.Second, 2},
		{"a SYN nobody answered goes", maps.HalfOpen, v1.TCP, bpf.FlowHalfOpen, 31 * time.Second, 31 * time.Second, 0},
		{"a repeated SYN keeps its flow", maps.HalfOpen, v1.TCP, bpf.FlowHalfOpen, time.Second, 31 * time.Second, 2},
		{"what has moved to flows goes soon", maps.HalfOpen, v1.TCP, bpf.FlowEstablished, 11 * time.Second, 11 * time.Second, 0},
		{"UDP goes after five minutes", maps.Established, v1.UDP, bpf.FlowEstablished, 5*time.Minute + 4*time.Second, 5*time.Minute + 4*time.Second, 0},
		{"SCTP lives between heartbeats", maps.Established, v1.SCTP, bpf.FlowEstablished, 200 * time.Second, 200 * time.Second, 2},
		{"SCTP goes without heartbeats", maps.Established, v1.SCTP, bpf.FlowEstablished, 214 * time.Second, 214 * time.Second, 0},
		{"seen after the clock was read", maps.Established, v1.UDP, bpf.FlowEstablished, -time.Second, -time.Second, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			m.connection(tt.table, tt.protocol, tt.state, tt.forward, tt.reply)
			started := time.Unix(1, 0)
			swept, err := New(m, ticks{}, 64).Sweep(t.Context(), started, Policy{})
			if err != nil {
				t.Fatal(err)
			}
			if dropped := m.dropped > 0; dropped != (tt.left == 0) {
				t.Errorf("copies were dropped: %t, want it where flows were removed", dropped)
			}
			if got := len(m.tables[tt.table]); got != tt.left {
				t.Errorf("%d entries are left, want %d", got, tt.left)
			}
			if tt.left == 0 && !slices.Equal(m.deleted, []string{"forward", "reply"}) {
				t.Errorf("deleted %v, want the client's entry first", m.deleted)
			}
			if s := swept.Scan; !s.Started.Equal(started) || !s.Backends[7] || !s.Services[3] || len(s.VIPs) != 1 || !s.VIPs[vip.Addr()] {
				t.Errorf("scan %+v, want backend 7, service 3 and VIP %s", s, vip.Addr())
			}
		})
	}
}

// A service's own time-out replaces that of its established flows alone.
func TestSweepGoesByTheServicesTimeout(t *testing.T) {
	tests := []struct {
		name  string
		table maps.FlowTable
		state uint8
		own   time.Duration
		idle  time.Duration
		left  int
	}{
		{"a shorter one ends flows early", maps.Established, bpf.FlowEstablished, 10 * time.Second, 14 * time.Second, 0},
		{"and not before", maps.Established, bpf.FlowEstablished, 10 * time.Second, 9 * time.Second, 2},
		{"a longer one keeps flows", maps.Established, bpf.FlowEstablished, 24 * time.Hour, 23 * time.Hour, 2},
		{"closed flows have their own", maps.Established, bpf.FlowClosing, 24 * time.Hour, 64 * time.Second, 0},
		{"so have half-open ones", maps.HalfOpen, bpf.FlowHalfOpen, 24 * time.Hour, 31 * time.Second, 0},
		{"and what a promoted flow has left", maps.HalfOpen, bpf.FlowEstablished, 24 * time.Hour, 11 * time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			m.connection(tt.table, v1.TCP, tt.state, tt.idle, tt.idle)
			policy := Policy{IdleTimeouts: map[uint32]time.Duration{3: tt.own, 4: time.Second}}
			if _, err := New(m, ticks{}, 64).Sweep(t.Context(), time.Unix(1, 0), policy); err != nil {
				t.Fatal(err)
			}
			if got := len(m.tables[tt.table]); got != tt.left {
				t.Errorf("%d entries are left, want %d", got, tt.left)
			}
		})
	}
}

// Somebody sets the clock: no flow gets older or younger by it.
func TestSweepDoesNotAskTheWallClock(t *testing.T) {
	m := newMemory()
	m.connection(maps.Established, v1.UDP, bpf.FlowEstablished, 4*time.Minute, 4*time.Minute)
	table := New(m, ticks{}, 64)
	for _, started := range []time.Time{time.Unix(0, 0), time.Now().AddDate(50, 0, 0), time.Unix(1, 0)} {
		swept, err := table.Sweep(t.Context(), started, Policy{})
		if err != nil || swept.Removed != 0 || swept.Established != 2 {
			t.Fatalf("clock at %v: %+v, %v; want both entries left", started, swept, err)
		}
	}
}

func TestUDPFlowsEndWithTheirBackend(t *testing.T) {
	tests := []struct {
		name        string
		table       maps.FlowTable
		protocol    v1.Protocol
		state       uint8
		gone        uint32
		left, after string // what is left by Forget, and by the sweep after it
	}{
		{"UDP of a backend that is gone: answers still find the client", maps.Established, v1.UDP, bpf.FlowEstablished, 7, "reply 1", ""},
		{"UDP nobody has answered: an answer does not bring it back", maps.HalfOpen, v1.UDP, bpf.FlowHalfOpen, 7, "reply 2", ""},
		{"what a promoted flow has left", maps.HalfOpen, v1.UDP, bpf.FlowEstablished, 7, "reply 1", ""},
		{"UDP of another backend", maps.Established, v1.UDP, bpf.FlowEstablished, 8, "forward 1 reply 1", "forward 1 reply 1"},
		{"TCP ends by itself", maps.Established, v1.TCP, bpf.FlowEstablished, 7, "forward 1 reply 1", "forward 1 reply 1"},
		{"SCTP too", maps.Established, v1.SCTP, bpf.FlowEstablished, 7, "forward 1 reply 1", "forward 1 reply 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			key, pair := m.connection(tt.table, tt.protocol, tt.state, 2*time.Second, 2*time.Second)
			left := func() string {
				var words []string
				for _, k := range []bpf.FlowKey{key, pair} {
					if f, ok := m.tables[tt.table][k]; ok {
						words = append(words, fmt.Sprint(maps.FlowIn(k, f).Direction, " ", f.State))
					}
				}
				return strings.Join(words, " ")
			}
			table, policy := New(m, ticks{}, 64), Policy{Gone: map[uint32]bool{tt.gone: true}}
			if _, err := table.Forget(t.Context(), policy); err != nil || left() != tt.left {
				t.Errorf("forget left %q, %v; want %q", left(), err, tt.left)
			}
			if _, err := table.Sweep(t.Context(), time.Unix(1, 0), policy); err != nil || left() != tt.after {
				t.Errorf("sweep left %q, %v; want %q", left(), err, tt.after)
			}
		})
	}
}

// An answer that is under way when a sweep comes still finds its client.
func TestSweepLeavesAnOrphanASecond(t *testing.T) {
	m := newMemory()
	m.connection(maps.Established, v1.UDP, bpf.FlowEstablished, 900*time.Millisecond, 900*time.Millisecond)
	swept, err := New(m, ticks{}, 64).Sweep(t.Context(), time.Unix(1, 0), Policy{Gone: map[uint32]bool{7: true}})
	if err != nil || swept.Removed != 0 {
		t.Errorf("%+v, %v", swept, err)
	}
}

// The rest of a flow in flows_new would bring it back if it went last.
func TestForgetTakesTheRestInFlowsNewFirst(t *testing.T) {
	m := newMemory()
	key, _ := m.connection(maps.HalfOpen, v1.UDP, bpf.FlowEstablished, 0, 0)
	m.connection(maps.Established, v1.UDP, bpf.FlowEstablished, 0, 0)
	m.touch = func(bpf.FlowKey) {
		_, rest := m.tables[maps.HalfOpen][key]
		if _, there := m.tables[maps.Established][key]; rest && !there {
			t.Error("the rest is there without its flow")
		}
	}
	if n, err := New(m, ticks{}, 64).Forget(t.Context(), Policy{Gone: map[uint32]bool{7: true}}); err != nil || n != 2 {
		t.Errorf("removed %d, %v; want the rest and the flow", n, err)
	}
}

// Between listing and removal the key has become a fresh connection's.
func TestSweepLooksAgain(t *testing.T) {
	m := newMemory()
	key, pair := m.connection(maps.Established, v1.TCP, bpf.FlowClosing, time.Hour, time.Hour)
	m.touch = func(bpf.FlowKey) {
		for _, k := range []bpf.FlowKey{key, pair} {
			f := m.tables[maps.Established][k]
			f.LastSeen, f.State = now, bpf.FlowEstablished
			m.tables[maps.Established][k] = f
		}
	}
	swept, err := New(m, ticks{}, 64).Sweep(t.Context(), time.Unix(1, 0), Policy{})
	if err != nil || swept.Removed != 0 || len(m.tables[maps.Established]) != 2 {
		t.Errorf("removed %d, err %v, left %d", swept.Removed, err, len(m.tables[maps.Established]))
	}
}

// The reply tuple of a dead half is another connection's: that one stays.
func TestSweepLeavesAnotherConnectionsPair(t *testing.T) {
	m := newMemory()
	_, pair := m.connection(maps.Established, v1.TCP, bpf.FlowClosing, time.Hour, time.Hour)
	other := m.tables[maps.Established][pair]
	other.Dport, other.LastSeen, other.State = bpf.Port(50000), now, bpf.FlowEstablished
	m.tables[maps.Established][pair] = other
	if _, err := New(m, ticks{}, 64).Sweep(t.Context(), time.Unix(1, 0), Policy{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.tables[maps.Established][pair]; !ok || len(m.tables[maps.Established]) != 1 {
		t.Errorf("left are %v, want only the other connection's entry", m.tables[maps.Established])
	}
}

func TestReadSpeaksAddressesAndCountsAMovedFlowOnce(t *testing.T) {
	m := newMemory()
	m.connection(maps.HalfOpen, v1.TCP, bpf.FlowEstablished, time.Second, time.Second)
	m.connection(maps.Established, v1.TCP, bpf.FlowEstablished, 1500*time.Millisecond, time.Second)
	entries, err := New(m, ticks{}, 64).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []v1.Flow
	for _, e := range entries {
		got = append(got, e.API())
	}
	slices.SortFunc(got, func(a, b v1.Flow) int { return strings.Compare(a.Direction, b.Direction) })
	want := []v1.Flow{
		{
			Protocol: v1.TCP, Source: client, Destination: vip, NewSource: source, NewDestination: backend,
			Direction: "forward", State: "established", Packets: 2, Bytes: 300, IdleTime: 1500 * time.Millisecond,
		},
		{
			Protocol: v1.TCP, Source: backend, Destination: source, NewSource: vip, NewDestination: client,
			Direction: "reply", State: "established", Packets: 1, Bytes: 100, IdleTime: time.Second,
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("flows (-want +got):\n%s", diff)
	}
}

func TestReadLeavesOutRestsOfEndedFlows(t *testing.T) {
	m := newMemory()
	m.connection(maps.HalfOpen, v1.TCP, bpf.FlowEstablished, 0, 0) // moved, and ended since
	entries, err := New(m, ticks{}, 64).Read(t.Context())
	if err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	m.connection(maps.HalfOpen, v1.TCP, bpf.FlowHalfOpen, 0, 0)
	if entries, _ = New(m, ticks{}, 64).Read(t.Context()); len(entries) != 2 {
		t.Errorf("half-open flows: %v", entries)
	}
}

func TestSinceWrapsAround(t *testing.T) {
	for _, tt := range []struct {
		now, seen uint32
		want      time.Duration
	}{
		{100, 50, 200 * time.Millisecond},
		{10, ^uint32(0) - 9, 80 * time.Millisecond},
		{10, 12, 0},
	} {
		t.Run(fmt.Sprint(tt.now, tt.seen), func(t *testing.T) {
			if got := (Instant{jiffies: tt.now, hz: 250}).Since(tt.seen); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
