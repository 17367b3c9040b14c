package plan

import (
	"net/netip"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

// hashLimits have room for the table of a service that chooses by hash, twice.
var hashLimits = Limits{VIPs: 3, Services: 6, Backends: 12, Slots: 2 * 1021}

func hashing(s v1.Service) v1.Service {
	s.Algorithm = v1.Hash
	return s
}

// table is the slot table of a service, by addresses.
func (k *kernel) table(f v1.Frontend) []netip.AddrPort {
	var table []netip.AddrPort
	region := k.services[f].Slots
	for _, id := range k.slots[region.Offset : region.Offset+region.Count] {
		table = append(table, k.backends[id].Address)
	}
	return table
}

// Nodes of another past, with other ids, have equal tables, and what a probe takes out
// of one leaves the others' slots where they are.
func TestHashTablesAreEqualOnAllNodes(t *testing.T) {
	const one, two, three = "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"
	states, nodes := []*State{NewState(), NewState()}, []*kernel{newKernel(hashLimits), newKernel(hashLimits)}
	asked := func(backends ...string) Desired {
		return Desired{Services: []v1.Service{monitored(hashing(service(web, backends...)))}}
	}
	settleAt := func(node int, d Desired) {
		t.Helper()
		now := epoch
		for range 2 { // the region before rests
			now = now.Add(2 * Grace)
			if _, err := nodes[node].run(Make(d, states[node], Scan{}, hashLimits, now), states[node], now); err != nil {
				t.Fatal(err)
			}
		}
	}
	settleAt(1, asked(three))
	settleAt(1, asked(two, three))
	settleAt(0, asked(one, two, three))
	settleAt(1, asked(three, two, one))
	mine, theirs := nodes[0].table(web), nodes[1].table(web)
	if len(mine) != 1021 || len(theirs) != 1021 {
		t.Fatalf("tables of %d and %d slots", len(mine), len(theirs))
	}
	for slot := range mine {
		if mine[slot] != theirs[slot] {
			t.Fatalf("slot %d leads to %s on one node, to %s on another", slot, mine[slot], theirs[slot])
		}
	}
	down := asked(one, two, three)
	down.Inactive = inactive(two)
	settleAt(0, down)
	after := nodes[0].table(web)
	if len(after) != len(mine) {
		t.Fatalf("a table of %d slots where there were %d", len(after), len(mine))
	}
	moved := 0
	for slot, before := range mine {
		if before.String() != two && after[slot] != before {
			moved++
		}
	}
	if moved > len(mine)/50 {
		t.Errorf("%d slots of the others have moved", moved)
	}
}

// The size of a table goes by all backends: the sixth makes another one, one of six that
// fails does not.
func TestHashTablesAreSizedByAllBackends(t *testing.T) {
	limits := Limits{VIPs: 3, Services: 6, Backends: 12, Slots: 3 * 4093}
	state, maps := NewState(), newKernel(limits)
	six := Desired{Services: []v1.Service{monitored(hashing(service(web, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1", "10.0.0.6:1")))}}
	for _, down := range [][]string{nil, {"10.0.0.1:1"}, {"10.0.0.1:1", "10.0.0.2:1"}} {
		six.Inactive = inactive(down...)
		if _, err := maps.run(Make(six, state, Scan{}, limits, epoch), state, epoch); err != nil {
			t.Fatal(err)
		}
		if got := len(maps.table(web)); got != 4093 {
			t.Errorf("with %v down the table has %d slots, want 4093", down, got)
		}
	}
}
