package ipam

import (
	"errors"
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
	gone      []Pool // that were removed
	exclusive bool
	services  map[string]Request
	// wishes are what a service wants of each family if it wants it, IPv4 first.
	wishes map[string][2]Want
	last   map[string]Addresses
	// changed names the services whose wish changed since the last round, but
	// for the families alone.
	changed map[string]bool
}

// TestNothingMovesNothingDoubles runs random events, restarts, reorderings and
// edits of the pools and holds after each round: no port of an address has two
// owners, every address is in a pool, a service that nobody touched keeps its
// addresses as long as a pool that it may have them from has them and gives them
// up then, one whose families changed keeps that of the family that stays, and who
// wants both or none has both, or none but what it had.
func TestNothingMovesNothingDoubles(t *testing.T) {
	checkMore(t, 10000)
	pools := mustPools(t, "defaultPool=10.0.0.1-10.0.0.3,defaultPool=2001:db8::1-2001:db8::2,b=10.0.1.1-10.0.1.2,b=2001:db8:0:1::1-2001:db8:0:1::3")
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{
			pools: slices.Clone(pools), exclusive: rapid.Bool().Draw(rt, "exclusive"),
			services: map[string]Request{}, wishes: map[string][2]Want{}, last: map[string]Addresses{}, changed: map[string]bool{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put":      w.put,
			"families": w.families,
			"remove":   w.remove,
			"decide":   func(rt *rapid.T) { w.round(rt, remembered) },
			// A controller that lost its memory has the status alone.
			"restart": func(rt *rapid.T) { w.round(rt, fromStatus) },
			// One whose memory has what no status says, as that of a cluster.
			"restart of half":    func(rt *rapid.T) { w.round(rt, fromBoth) },
			"add a pool":         w.addPool,
			"grow a pool":        w.growPool,
			"shrink a pool":      w.shrinkPool,
			"split a pool":       w.splitPool,
			"rename a pool":      w.renamePool,
			"remove a pool":      w.removePool,
			"bring a pool back":  w.bringBack,
			"reorder the pools":  w.reorderPools,
			"reorder its ranges": w.reorderRanges,
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
	r.Pool = rapid.SampledFrom([]string{"", "", "b", "none"}).Draw(rt, "pool")
	wishes := [2]Want{{}, {IPv6: true}}
	for i, want := range wishes {
		if rapid.Bool().Draw(rt, "asks for an address") {
			wishes[i].Address = drawAddress(rt, want.IPv6)
		}
	}
	w.services[owner], w.wishes[owner] = r, wishes
	w.changed[owner] = true
	w.choose(rt, owner)
}

// families changes which families a service wants, and not what it wants of one
// that stays.
func (w *world) families(rt *rapid.T) {
	names := slices.Sorted(maps.Keys(w.services))
	if len(names) == 0 {
		rt.Skip("no service")
	}
	w.choose(rt, rapid.SampledFrom(names).Draw(rt, "service"))
}

func (w *world) choose(rt *rapid.T, owner string) {
	r := w.services[owner]
	r.Wants, r.Together = drawFamilies(rt), rapid.Bool().Draw(rt, "together")
	for i, want := range r.Wants {
		r.Wants[i] = w.wishes[owner][0]
		if want.IPv6 {
			r.Wants[i] = w.wishes[owner][1]
		}
	}
	w.services[owner] = r
}

func drawFamilies(rt *rapid.T) []Want {
	four, six := Want{}, Want{IPv6: true}
	wants := rapid.SampledFrom([][]Want{{four}, {six}, {four, six}, {six, four}}).Draw(rt, "families")
	return slices.Clone(wants)
}

func drawAddress(rt *rapid.T, ipv6 bool) netip.Addr {
	net, host := rapid.ByteRange(0, 2).Draw(rt, "net"), rapid.ByteRange(1, 3).Draw(rt, "host")
	if ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%d::%d", net, host))
	}
	return netip.AddrFrom4([4]byte{10, 0, net, host})
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

// remembered, fromStatus and fromBoth say how a request learns what its owner
// holds.
func remembered(r *Request, had Addresses, ports []Port) { r.Held = Hold{Addresses: had, Ports: ports} }
func fromStatus(r *Request, had Addresses, _ []Port)     { r.Status.Addresses = had }
func fromBoth(r *Request, had Addresses, _ []Port) {
	r.Status.IPv4, r.Held.IPv6 = had.IPv4, had.IPv6
}

func (w *world) round(rt *rapid.T, learn func(*Request, Addresses, []Port)) {
	order := rapid.Permutation(slices.Sorted(maps.Keys(w.services))).Draw(rt, "order")
	requests := make([]Request, len(order))
	for i, name := range order {
		requests[i] = w.services[name]
		// What was held then may have other ports than what is wanted now.
		ports := requests[i].Ports
		if w.changed[name] {
			ports = nil
		}
		learn(&requests[i], w.last[name], ports)
	}
	got := Assign(w.pools, requests, Options{Exclusive: w.exclusive})
	w.check(rt, requests, got, learnsPorts(learn))
	w.last, w.changed = map[string]Addresses{}, map[string]bool{}
	for _, a := range got {
		var has Addresses
		for _, g := range a.Given {
			has.Set(g.Address)
		}
		w.last[a.Owner] = has
	}
}

func learnsPorts(learn func(*Request, Addresses, []Port)) bool {
	var r Request
	learn(&r, Addresses{}, []Port{{}})
	return len(r.Held.Ports) > 0
}

func (w *world) check(rt *rapid.T, requests []Request, got []Assignment, portsKnown bool) {
	owners := map[netip.Addr]map[Port]string{}
	for i, a := range got {
		r := requests[i]
		if len(a.Given) != len(r.Wants) {
			rt.Fatalf("%s got %d answers to %d wants", r.Owner, len(a.Given), len(r.Wants))
		}
		// Without the ports of before, a service that took a neighbour's port
		// cannot be told from that neighbour, so only a round without such
		// changes must rest.
		settled := !w.changed[r.Owner] && (portsKnown || len(w.changed) == 0)
		failed := slices.ContainsFunc(a.Given, func(g Given) bool { return g.Err != nil })
		for j, g := range a.Given {
			before := w.last[r.Owner].Of(r.Wants[j].IPv6)
			if settled && w.mayKeep(r, before) && g.Address != before {
				rt.Fatalf("%s moved from %s to %s (%v)", r.Owner, before, g.Address, g.Err)
			}
			if g.Err == nil && g.Address != before && !r.Wants[j].Address.IsValid() && g.Pool != w.selected(r, g.Address.Is6()) {
				rt.Fatalf("%s got %s of pool %s, want one of pool %s", r.Owner, g.Address, g.Pool, w.selected(r, g.Address.Is6()))
			}
			if g.Err != nil {
				continue
			}
			if r.Together && failed && g.Address != before {
				rt.Fatalf("%s got %s, which it had not, without the other", r.Owner, g.Address)
			}
			w.checkGiven(rt, r, r.Wants[j], g)
			w.own(rt, owners, r, g.Address)
		}
	}
	for i, a := range got {
		w.checkRefusals(rt, requests[i], a, owners)
	}
}

// checkGiven holds that an address is one that was wanted.
func (w *world) checkGiven(rt *rapid.T, r Request, want Want, g Given) {
	if g.Address.Is6() != want.IPv6 || (want.Address.IsValid() && g.Address != want.Address) {
		rt.Fatalf("%s wanted %+v and got %s", r.Owner, want, g.Address)
	}
	if i := slices.IndexFunc(w.pools, func(p Pool) bool { return p.Name == g.Pool }); i < 0 || !w.pools[i].Contains(g.Address) {
		rt.Fatalf("%s got %s, which is not in pool %q", r.Owner, g.Address, g.Pool)
	}
}

// own notes who owns the ports of an address, and holds that nobody did before.
func (w *world) own(rt *rapid.T, owners map[netip.Addr]map[Port]string, r Request, a netip.Addr) {
	if owners[a] == nil {
		owners[a] = map[Port]string{}
	}
	for _, p := range r.Ports {
		if other, ok := owners[a][p]; ok {
			rt.Fatalf("%s and %s both own %s of %s", other, r.Owner, p, a)
		}
		owners[a][p] = r.Owner
	}
	if w.exclusive {
		for p, other := range owners[a] {
			if other != r.Owner {
				rt.Fatalf("%s and %s share %s (%s)", other, r.Owner, a, p)
			}
		}
	}
}

// checkRefusals holds that nobody is called refused for want of an address
// while one is free.
func (w *world) checkRefusals(rt *rapid.T, r Request, a Assignment, owners map[netip.Addr]map[Port]string) {
	var lacks bool
	for i, g := range a.Given {
		free := w.free(r, r.Wants[i], owners)
		lacks = lacks || !free.IsValid()
		if g.Err != nil && !errors.Is(g.Err, ErrTogether) && free.IsValid() {
			rt.Fatalf("%s was refused (%v) while %s is free", r.Owner, g.Err, free)
		}
	}
	if i := slices.IndexFunc(a.Given, func(g Given) bool { return errors.Is(g.Err, ErrTogether) }); i >= 0 && (!r.Together || !lacks) {
		rt.Fatalf("%s was refused (%v) though nothing lacked", r.Owner, a.Given[i].Err)
	}
}

// free is an address that would do.
func (w *world) free(r Request, want Want, owners map[netip.Addr]map[Port]string) netip.Addr {
	for _, pool := range w.pools {
		selected := w.selected(r, want.IPv6) == pool.Name || (r.Pool == "" && want.Address.IsValid())
		for _, rg := range pool.Ranges {
			for x := rg.From(); selected && x.Is6() == want.IPv6 && rg.Contains(x); x = x.Next() {
				free := (!want.Address.IsValid() || want.Address == x) && (!w.exclusive || len(owners[x]) == 0)
				for _, p := range r.Ports {
					free = free && owners[x][p] == ""
				}
				if free {
					return x
				}
			}
		}
	}
	return netip.Addr{}
}

// mayKeep says that a pool has an address which r may have it from.
func (w *world) mayKeep(r Request, a netip.Addr) bool {
	return slices.ContainsFunc(w.pools, func(p Pool) bool { return p.Contains(a) && (r.Pool == "" || r.Pool == p.Name) })
}

// selected is the pool of which a new address comes.
func (w *world) selected(r Request, ipv6 bool) string {
	if r.Pool != "" {
		return r.Pool
	}
	def := w.pool(DefaultPool)
	switch {
	case len(w.pools) == 0:
		return ""
	case def < 0 || (!w.hasFamily(def, ipv6) && w.hasFamily(0, ipv6)):
		return w.pools[0].Name
	}
	return DefaultPool
}

func (w *world) hasFamily(pool int, ipv6 bool) bool {
	return slices.ContainsFunc(w.pools[pool].Ranges, func(r Range) bool { return r.From().Is6() == ipv6 })
}

func (w *world) pool(name string) int {
	return slices.IndexFunc(w.pools, func(p Pool) bool { return p.Name == name })
}

// TestLowestIsFirstFit compares the walk that remembers where each port is
// free with one that looks at every address from the first on.
func TestLowestIsFirstFit(t *testing.T) {
	pools := mustPools(t, "10.0.0.8-10.0.0.9,2001:db8::8/127,10.0.0.1-10.0.0.4,2001:db8::1-2001:db8::3")
	rapid.Check(t, func(rt *rapid.T) {
		opts := Options{Exclusive: rapid.Bool().Draw(rt, "exclusive")}
		var requests []Request
		for i, ports := range rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.Uint16Range(1, 4), 1, 3, rapid.ID), 1, 20).Draw(rt, "services") {
			r := Request{Owner: strconv.Itoa(i), Wants: drawFamilies(rt), Together: rapid.Bool().Draw(rt, "together")}
			for _, n := range ports {
				r.Ports = append(r.Ports, Port{Number: n, Protocol: v1.TCP})
			}
			requests = append(requests, r)
		}
		owners := map[netip.Addr]map[Port]string{}
		for i, a := range Assign(pools, requests, opts) {
			for j, want := range firstFit(pools[0], requests[i], opts, owners) {
				if a.Given[j].Address != want {
					rt.Fatalf("%s with %v got %+v, want %v", a.Owner, requests[i].Ports, a.Given, want)
				}
			}
		}
	})
}

// firstFit finds the first address of each family that is wanted, and takes
// them; none where one lacks and they are wanted together.
func firstFit(pool Pool, r Request, opts Options, owners map[netip.Addr]map[Port]string) []netip.Addr {
	found := make([]netip.Addr, len(r.Wants))
	for i, w := range r.Wants {
		found[i] = firstFree(pool, r, w.IPv6, opts, owners)
	}
	if r.Together && slices.Contains(found, netip.Addr{}) {
		return make([]netip.Addr, len(r.Wants))
	}
	for _, a := range found {
		if owners[a] == nil {
			owners[a] = map[Port]string{}
		}
		for _, p := range r.Ports {
			owners[a][p] = r.Owner
		}
	}
	return found
}

func firstFree(pool Pool, r Request, ipv6 bool, opts Options, owners map[netip.Addr]map[Port]string) netip.Addr {
	for _, rg := range pool.Ranges {
		for a := rg.From(); a.Is6() == ipv6 && rg.Contains(a); a = a.Next() {
			free := !opts.Exclusive || len(owners[a]) == 0
			for _, p := range r.Ports {
				free = free && owners[a][p] == ""
			}
			if free {
				return a
			}
		}
	}
	return netip.Addr{}
}
