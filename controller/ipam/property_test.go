package ipam

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"pgregory.net/rapid"
)

// world is a cluster as far as addresses are concerned: what its services ask
// for and what the last round gave them.
type world struct {
	pools     []Pool
	exclusive bool
	services  map[string]Request
	last      map[string]Assignment
	// changed names the services whose wish changed since the last round.
	changed map[string]bool
}

// TestNothingMovesNothingDoubles runs random events, restarts and reorderings
// and holds after each round: no port of an address has two owners, every
// address is in a pool, and a service that nobody touched keeps its address.
func TestNothingMovesNothingDoubles(t *testing.T) {
	checkMore(t, 4000)
	pools := mustPools(t, "defaultPool=10.0.0.1-10.0.0.3,b=10.0.1.1-10.0.1.2")
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{
			pools: pools, exclusive: rapid.Bool().Draw(rt, "exclusive"),
			services: map[string]Request{}, last: map[string]Assignment{}, changed: map[string]bool{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put":    w.put,
			"remove": w.remove,
			"decide": func(rt *rapid.T) { w.round(rt, remembered) },
			// A controller that lost its memory has the status alone.
			"restart": func(rt *rapid.T) { w.round(rt, fromStatus) },
		})
	})
}

// checkMore raises rapid's number of checks for one test, unless the command
// line asks for some number.
func checkMore(t *testing.T, checks int) {
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := flag.Set("rapid.checks", strconv.Itoa(checks)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", f.DefValue) })
}

func (w *world) put(rt *rapid.T) {
	owner := fmt.Sprintf("s%d", rapid.IntRange(0, 4).Draw(rt, "service"))
	r := Request{Owner: owner}
	for _, n := range rapid.SliceOfNDistinct(rapid.Uint16Range(1, 3), 1, 2, rapid.ID).Draw(rt, "ports") {
		r.Ports = append(r.Ports, Port{Number: n, Protocol: rapid.SampledFrom([]v1.Protocol{v1.TCP, v1.TCP, v1.UDP}).Draw(rt, "protocol")})
	}
	if rapid.Bool().Draw(rt, "asks for an address") {
		r.Address = netip.AddrFrom4([4]byte{10, 0, rapid.ByteRange(0, 2).Draw(rt, "net"), rapid.ByteRange(1, 3).Draw(rt, "host")})
	}
	r.Pool = rapid.SampledFrom([]string{"", "", "b", "none"}).Draw(rt, "pool")
	w.services[owner] = r
	w.changed[owner] = true
}

func (w *world) remove(rt *rapid.T) {
	names := slices.Sorted(maps.Keys(w.services))
	if len(names) == 0 {
		rt.Skip("no service")
	}
	name := rapid.SampledFrom(names).Draw(rt, "service")
	delete(w.services, name)
	delete(w.last, name)
}

// remembered and fromStatus say how a request learns what its owner holds.
func remembered(r *Request, a Assignment, ports []Port) {
	r.Held = Hold{Address: a.Address, Ports: ports}
}
func fromStatus(r *Request, a Assignment, _ []Port) { r.Status = a.Address }

func (w *world) round(rt *rapid.T, learn func(*Request, Assignment, []Port)) {
	order := rapid.Permutation(slices.Sorted(maps.Keys(w.services))).Draw(rt, "order")
	requests := make([]Request, len(order))
	for i, name := range order {
		requests[i] = w.services[name]
		if a, ok := w.last[name]; ok && a.Err == nil {
			// What was held then may have other ports than what is wanted now.
			ports := requests[i].Ports
			if w.changed[name] {
				ports = nil
			}
			learn(&requests[i], a, ports)
		}
	}
	got := Assign(w.pools, requests, Options{Exclusive: w.exclusive})
	w.check(rt, requests, got, learnsPorts(learn))
	w.last, w.changed = map[string]Assignment{}, map[string]bool{}
	for _, a := range got {
		w.last[a.Owner] = a
	}
}

func learnsPorts(learn func(*Request, Assignment, []Port)) bool {
	var r Request
	learn(&r, Assignment{}, []Port{{}})
	return len(r.Held.Ports) > 0
}

func (w *world) check(rt *rapid.T, requests []Request, got []Assignment, portsKnown bool) {
	owners := map[netip.Addr]map[Port]string{}
	for i, a := range got {
		r := requests[i]
		// Without the ports of before, a service that took a neighbour's port
		// cannot be told from that neighbour, so only a round without such
		// changes must rest.
		settled := !w.changed[r.Owner] && (portsKnown || len(w.changed) == 0)
		if before, ok := w.last[r.Owner]; ok && settled && before.Err == nil && (a.Err != nil || a.Address != before.Address) {
			rt.Fatalf("%s moved from %s to %s (%v)", r.Owner, before.Address, a.Address, a.Err)
		}
		if a.Err != nil {
			continue
		}
		if r.Address.IsValid() && a.Address != r.Address {
			rt.Fatalf("%s asked for %s and got %s", r.Owner, r.Address, a.Address)
		}
		if i := slices.IndexFunc(w.pools, func(p Pool) bool { return p.Name == a.Pool }); i < 0 || !w.pools[i].Contains(a.Address) {
			rt.Fatalf("%s got %s, which is not in pool %q", r.Owner, a.Address, a.Pool)
		}
		if owners[a.Address] == nil {
			owners[a.Address] = map[Port]string{}
		}
		for _, p := range r.Ports {
			if other, ok := owners[a.Address][p]; ok {
				rt.Fatalf("%s and %s both own %s of %s", other, r.Owner, p, a.Address)
			}
			owners[a.Address][p] = r.Owner
		}
		if w.exclusive {
			for p, other := range owners[a.Address] {
				if other != r.Owner {
					rt.Fatalf("%s and %s share %s (%s)", other, r.Owner, a.Address, p)
				}
			}
		}
	}
	w.checkRefusals(rt, requests, got, owners)
}

// checkRefusals holds that nobody is called refused for want of an address
// while one is free.
func (w *world) checkRefusals(rt *rapid.T, requests []Request, got []Assignment, owners map[netip.Addr]map[Port]string) {
	for i, a := range got {
		r := requests[i]
		if a.Err == nil || r.Address.IsValid() || r.Pool == "none" {
			continue
		}
		pool := w.pools[0]
		if r.Pool == "b" {
			pool = w.pools[1]
		}
		for x := pool.Ranges[0].From(); pool.Contains(x); x = x.Next() {
			free := !w.exclusive || len(owners[x]) == 0
			for _, p := range r.Ports {
				free = free && owners[x][p] == ""
			}
			if free {
				rt.Fatalf("%s was refused (%v) while %s is free", r.Owner, a.Err, x)
			}
		}
	}
}

// TestLowestIsFirstFit compares the walk that remembers where each port is
// free with one that looks at every address from the first on.
func TestLowestIsFirstFit(t *testing.T) {
	pools := mustPools(t, "10.0.0.8-10.0.0.9,10.0.0.1-10.0.0.4")
	rapid.Check(t, func(rt *rapid.T) {
		opts := Options{Exclusive: rapid.Bool().Draw(rt, "exclusive")}
		var requests []Request
		for i, ports := range rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.Uint16Range(1, 4), 1, 3, rapid.ID), 1, 20).Draw(rt, "services") {
			r := Request{Owner: strconv.Itoa(i)}
			for _, n := range ports {
				r.Ports = append(r.Ports, Port{Number: n, Protocol: v1.TCP})
			}
			requests = append(requests, r)
		}
		owners := map[netip.Addr]map[Port]string{}
		for i, a := range Assign(pools, requests, opts) {
			want := firstFit(pools[0], requests[i], opts, owners)
			if a.Address != want {
				rt.Fatalf("%s with %v got %v (%v), want %v", a.Owner, requests[i].Ports, a.Address, a.Err, want)
			}
		}
	})
}

func firstFit(pool Pool, r Request, opts Options, owners map[netip.Addr]map[Port]string) netip.Addr {
	for _, rg := range pool.Ranges {
		for a := rg.From(); rg.Contains(a); a = a.Next() {
			free := !opts.Exclusive || len(owners[a]) == 0
			for _, p := range r.Ports {
				free = free && owners[a][p] == ""
			}
			if !free {
				continue
			}
			if owners[a] == nil {
				owners[a] = map[Port]string{}
			}
			for _, p := range r.Ports {
				owners[a][p] = r.Owner
			}
			return a
		}
	}
	return netip.Addr{}
}
