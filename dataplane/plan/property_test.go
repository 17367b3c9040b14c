package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/weir-lb/weir/api/v1"
	"pgregory.net/rapid"
)

func genDesired(t *rapid.T, label string) Desired {
	frontends := rapid.SliceOfNDistinct(rapid.IntRange(0, 8), 0, 7, rapid.ID[int]).Draw(t, label)
	d := Desired{Unreachable: map[netip.Addr]bool{}, Inactive: map[Endpoint]bool{}}
	for _, i := range frontends {
		s := service(frontend(fmt.Sprintf("192.0.2.%d", 1+i%4), uint16(80+i)))
		s.Monitor = rapid.Bool().Draw(t, "monitor")
		for _, host := range rapid.SliceOfNDistinct(rapid.IntRange(1, 6), 0, 4, rapid.ID[int]).Draw(t, "backends") {
			s.Backends = append(s.Backends, v1.Backend{
				Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), Port: 8080,
				Weight: rapid.Uint16Range(0, 4).Draw(t, "weight"),
			})
		}
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 5), 0, 3, rapid.ID[int]).Draw(t, "sources") {
			s.Sources = append(s.Sources, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(n), 1}), 24))
		}
		d.Services = append(d.Services, s)
	}
	if rapid.Bool().Draw(t, "one is unreachable") {
		d.Unreachable[netip.MustParseAddr("10.0.0.1")] = true
	}
	for _, host := range rapid.SliceOfNDistinct(rapid.IntRange(1, 6), 0, 4, rapid.ID[int]).Draw(t, "inactive") {
		for _, s := range d.Services {
			d.Inactive[Endpoint{s.Frontend, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), 8080)}] = true
		}
	}
	return d
}

// Whatever is desired one after the other, wherever the writes break off, whenever weir
// restarts, and whichever flows live on: a frontend leads to the whole old or the whole new
// set of backends, ids keep their meaning, and undisturbed plans converge.
func TestPlansAreSafeAtEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := testLimits
		limits.VIPs = rapid.IntRange(2, 6).Draw(t, "room for VIPs")
		state, k := NewState(), newKernel(limits)
		now := epoch
		var desired Desired
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			desired = genDesired(t, "frontends")
			if rapid.IntRange(0, 4).Draw(t, "restarts at 0") == 0 {
				now = now.Add(2 * Grace) // it takes longer than a program runs
				state = Restore(k.observe(), now)
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "elapsed ms")) * time.Millisecond)
			scan := disturbFlows(t, k, now)
			p := Make(desired, state, scan, limits, now)
			runDisturbed(t, k, state, desired, p, now)
		}
		k.flows = map[uint32]Backend{}
		for range 4 {
			now = now.Add(2 * Grace)
			p := Make(desired, state, Scan{Started: now}, limits, now)
			if _, err := k.run(p, state, now); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(2 * Grace)
		last := Make(desired, state, Scan{Started: now}, limits, now)
		if len(last.Steps) > 0 {
			t.Fatalf("does not settle: %v", briefs(last.Steps))
		}
		checkSettled(t, k, state, desired, last)
	})
}

// disturbFlows lets some flows end and others begin, and returns a scan.
func disturbFlows(t *rapid.T, k *kernel, now time.Time) Scan {
	maps.DeleteFunc(k.flows, func(uint32, Backend) bool { return rapid.Bool().Draw(t, "flow ends") })
	for f, s := range k.services {
		if s.Slots.Count > 0 && rapid.Bool().Draw(t, "flow begins") {
			id := k.slots[s.Slots.Offset]
			k.flows[id], k.vipOf[id] = identity(k.backends[id]), f.VIP
		}
	}
	scan := Scan{Started: now, Services: map[uint32]bool{}, Backends: map[uint32]bool{}, VIPs: map[netip.Addr]bool{}}
	for id, b := range k.flows {
		scan.Backends[id] = true
		scan.Services[b.Service] = true
		scan.VIPs[k.vipOf[id]] = true
	}
	return scan
}

// runDisturbed does a plan as apply does, with steps that fail at random.
func runDisturbed(t *rapid.T, k *kernel, state *State, desired Desired, p Plan, now time.Time) {
	failed, broken := map[v1.Frontend]bool{}, false
	k.begin()
	for _, step := range p.Steps {
		f, has := step.Of()
		if has && failed[f] {
			continue
		}
		vip, isVIP := step.(PutVIP)
		fails := rapid.IntRange(0, 9).Draw(t, "fails at 0") == 0
		// Its services failed; the model insists on the order.
		fails = fails || isVIP && !vip.VIP.Retired && !stands(k, vip.Address)
		// None gave way to it, and the map refuses it.
		fails = fails || isVIP && broken && !k.hasRoom(vip.Address)
		if fails {
			failed[f], broken = has, true
			if isVIP && !k.has(vip.Address) {
				k.missed++
			}
			continue
		}
		before, _ := k.targets(f)
		if err := k.do(step, now); err != nil {
			t.Fatalf("%s: %v", brief(step), err)
		}
		state.Commit(step, now)
		if s, ok := step.(PutService); ok && s.Service.Restricted {
			if out := keepsOut(k, desired, f); out != "" {
				t.Fatalf("%s keeps %s out", brief(step), out)
			}
		}
		if _, switches := step.(PutService); switches || !has {
			continue
		}
		if after, ok := k.targets(f); ok && !maps.Equal(before, after) {
			t.Fatalf("%s changes where %s leads, from %v to %v", brief(step), f, before, after)
		}
	}
}

// keepsOut says which client a restricted service does not let in, as it is in the
// maps, though it is desired that it may come.
func keepsOut(k *kernel, desired Desired, f v1.Frontend) string {
	for _, s := range desired.Services {
		entry := k.services[f]
		if s.Frontend != f || !entry.Restricted {
			continue
		}
		for _, p := range s.Sources {
			if !k.sources[entry.ID][p.Masked()] {
				return p.String()
			}
		}
	}
	return ""
}

func stands(k *kernel, vip netip.Addr) bool {
	for f := range k.services {
		if f.VIP == vip {
			return true
		}
	}
	return false
}

func checkSettled(t *rapid.T, k *kernel, state *State, desired Desired, last Plan) {
	opts := cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(k.vips, state.vips, opts); diff != "" {
		t.Fatalf("state differs from the maps in vips:\n%s", diff)
	}
	if diff := cmp.Diff(k.backends, state.backends, opts); diff != "" {
		t.Fatalf("state differs from the maps in backends:\n%s", diff)
	}
	if diff := cmp.Diff(k.sources, state.sources, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Fatalf("state differs from the maps in sources:\n%s", diff)
	}
	wanted := map[v1.Frontend]bool{}
	for i, s := range desired.Services {
		wanted[s.Frontend] = true
		if _, refused := last.Refused[i]; refused {
			continue
		}
		got, ok := k.targets(s.Frontend)
		if want := eligible(desired, s); !ok || len(got) != want {
			t.Fatalf("%s leads to %v, want %d backends", s.Frontend, got, want)
		}
		if vip, ok := k.vips[s.VIP]; !ok || vip.Retired {
			t.Fatalf("%s has no VIP", s.Frontend)
		}
		entry := k.services[s.Frontend]
		if out := keepsOut(k, desired, s.Frontend); out != "" || entry.Restricted != (len(s.Sources) > 0) {
			t.Fatalf("%s is %+v and keeps %q out, want it open for %v", s.Frontend, entry, out, s.Sources)
		}
		if got := len(k.sources[entry.ID]); got != len(s.Sources) {
			t.Fatalf("%s has %d source ranges, want %d", s.Frontend, got, len(s.Sources))
		}
	}
	for id := range state.retiredBackends {
		if b := k.backends[id]; !b.Retired {
			t.Fatalf("backend %d of no slot is kept by clients: %+v", id, b)
		}
	}
	for f := range k.services {
		if !wanted[f] {
			t.Fatalf("%s is still there", f)
		}
	}
}

// eligible is how many backends shall have slots.
func eligible(d Desired, s v1.Service) int {
	active, reachable := 0, 0
	for _, b := range s.Backends {
		if s.Monitor && d.Inactive[Endpoint{s.Frontend, netip.AddrPortFrom(b.Address, b.Port)}] {
			continue
		}
		active++
		if !d.Unreachable[b.Address] {
			reachable++
		}
	}
	if reachable == 0 {
		return active
	}
	return reachable
}

func TestRegionsNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 64
		var live []Region
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(live) > 0 && rapid.Bool().Draw(t, "free") {
				i := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				live = append(live[:i], live[i+1:]...)
			}
			count := rapid.Uint32Range(0, 20).Draw(t, "count")
			r, ok := newRegions(size, live).take(count)
			if !ok {
				checkNoGap(t, live, count, size)
				continue
			}
			if r.Count != count || r.Offset+r.Count > size {
				t.Fatalf("got %s for %d of %d", r, count, size)
			}
			for _, l := range live {
				if overlap(l, r) {
					t.Fatalf("%s overlaps %s", r, l)
				}
			}
			live = append(live, r)
		}
	})
}

func checkNoGap(t *rapid.T, live []Region, count, size uint32) {
	for offset := uint32(0); offset+count <= size; offset++ {
		fits := true
		for _, l := range live {
			fits = fits && !overlap(l, Region{Offset: offset, Count: count})
		}
		if fits {
			t.Fatalf("refused %d though %d is free in %v", count, offset, live)
		}
	}
}
