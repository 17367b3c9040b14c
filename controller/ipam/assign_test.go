package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

func TestAssign(t *testing.T) {
	type want struct {
		address string // empty for an error
		err     error
		message string
	}
	for _, row := range []struct {
		says      string
		pools     string
		exclusive bool
		requests  []Request
		want      []want
	}{
		{"the article: three services of different ports share the first address", "123.123.123.1/24", false,
			[]Request{ask("nginx-lb1", "55002/tcp"), ask("udp-lb1", "55003/udp"), ask("sctp-lb1", "55004/sctp")},
			[]want{{address: "123.123.123.1"}, {address: "123.123.123.1"}, {address: "123.123.123.1"}}},
		{"one number in two protocols is two ports", "10.0.0.0/24", false,
			[]Request{ask("a", "53/tcp"), ask("b", "53/udp")},
			[]want{{address: "10.0.0.1"}, {address: "10.0.0.1"}}},
		{"a taken port goes to the next address, and a third service fills the gap", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp"), ask("b", "80/tcp", "443/tcp"), ask("c", "443/tcp")},
			[]want{{address: "10.0.0.1"}, {address: "10.0.0.2"}, {address: "10.0.0.1"}}},
		{"exclusive addresses are not shared", "10.0.0.0/24", true,
			[]Request{ask("a", "80/tcp"), ask("b", "443/tcp")},
			[]want{{address: "10.0.0.1"}, {address: "10.0.0.2"}}},
		{"the pool is walked range by range", "a=10.0.0.9/32,a=10.0.0.1-10.0.0.2", false,
			[]Request{ask("a", "80/tcp"), ask("b", "80/tcp"), ask("c", "80/tcp")},
			[]want{{address: "10.0.0.9"}, {address: "10.0.0.1"}, {address: "10.0.0.2"}}},
		{"an exhausted pool refuses who comes last and serves the others", "10.0.0.1-10.0.0.2", false,
			[]Request{ask("a", "80/tcp"), ask("b", "80/tcp"), ask("c", "80/tcp"), ask("d", "81/tcp")},
			[]want{{address: "10.0.0.1"}, {address: "10.0.0.2"}, {err: ErrExhausted, message: "port 80/tcp free; add addresses"}, {address: "10.0.0.1"}}},
		{"a service that asks for an address comes before those that take any", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp"), ask("b", "80/tcp").at("10.0.0.1")},
			[]want{{address: "10.0.0.2"}, {address: "10.0.0.1"}}},
		{"a held address comes before one asked for", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").at("10.0.0.1"), ask("b", "80/tcp").held("10.0.0.1", "80/tcp")},
			[]want{{err: ErrInUse, message: "port 80/tcp of 10.0.0.1 belongs to b"}, {address: "10.0.0.1"}}},
		{"an address in a status comes before one asked for", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").at("10.0.0.1"), ask("b", "80/tcp").status("10.0.0.1")},
			[]want{{err: ErrInUse}, {address: "10.0.0.1"}}},
		{"of two that hold one address, the one with unchanged ports keeps it", "10.0.0.0/24", false,
			[]Request{ask("a", "443/tcp").held("10.0.0.1", "80/tcp"), ask("b", "443/tcp").held("10.0.0.1", "443/tcp")},
			[]want{{address: "10.0.0.2"}, {address: "10.0.0.1"}}},
		{"a new port on a held address keeps the address", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp", "443/tcp").held("10.0.0.7", "80/tcp")},
			[]want{{address: "10.0.0.7"}}},
		{"who asks for another address than the held one gets it", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").at("10.0.0.9").held("10.0.0.7", "80/tcp")},
			[]want{{address: "10.0.0.9"}}},
		{"a held address that left the pools is replaced", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").held("192.0.2.1", "80/tcp")},
			[]want{{address: "10.0.0.1"}}},
		{"poolSelect picks the pool", "a=10.0.0.0/24,b=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp").in("b"), ask("b", "80/tcp").in("c")},
			[]want{{address: "10.0.1.1"}, {err: ErrNoSuchPool, message: `"c"; use one of a (10.0.0.1-10.0.0.254), b (`}}},
		{"without a selection defaultPool is taken wherever it stands", "a=10.0.0.0/24,defaultPool=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp")}, []want{{address: "10.0.1.1"}}},
		{"a held address of a pool that is no longer selected is replaced", "a=10.0.0.0/24,b=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp").in("b").held("10.0.0.1", "80/tcp")}, []want{{address: "10.0.1.1"}}},
		{"an address may be asked for from any pool", "a=10.0.0.0/24,b=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp").at("10.0.1.9")}, []want{{address: "10.0.1.9"}}},
		{"an address of another pool than the selected one is refused", "a=10.0.0.0/24,b=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp").at("10.0.1.9").in("a")}, []want{{err: ErrOutside, message: "not in pool a (10.0.0.1"}}},
		{"an address in no pool is refused", "a=10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").at("192.0.2.1")}, []want{{err: ErrOutside, message: "192.0.2.1 is in no pool; use one of a ("}}},
		{"the broadcast address of a CIDR is in no pool", "a=10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").at("10.0.0.255")}, []want{{err: ErrOutside}}},
		{"an exclusive address is refused with its owner", "10.0.0.0/24", true,
			[]Request{ask("a", "80/tcp").at("10.0.0.5"), ask("b", "81/tcp").at("10.0.0.5")},
			[]want{{address: "10.0.0.5"}, {err: ErrInUse, message: "belongs to a"}}},
		{"families do not mix", "10.0.0.0/24,2001:db8::/64,b=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp"), ask("c", "80/tcp").v6().in("b")},
			[]want{{address: "2001:db8::1"}, {address: "10.0.0.1"}, {err: ErrFamily, message: "pool b has 10.0.1.1"}}},
		{"no pool at all", "", false, []Request{ask("a", "80/tcp"), ask("b", "80/tcp").at("10.0.0.1")},
			[]want{{err: ErrNoSuchPool, message: "give one with --cidrPools"}, {err: ErrOutside}}},
	} {
		t.Run(row.says, func(t *testing.T) {
			var pools []Pool
			if row.pools != "" {
				pools = mustPools(t, row.pools)
			}
			got := Assign(pools, row.requests, Options{Exclusive: row.exclusive})
			for i, w := range row.want {
				g := got[i]
				if g.Owner != row.requests[i].Owner {
					t.Errorf("answer %d is for %q, want %q", i, g.Owner, row.requests[i].Owner)
				}
				switch {
				case w.err != nil:
					if !errors.Is(g.Err, w.err) || !strings.Contains(g.Err.Error(), w.message) {
						t.Errorf("%s: got %v %v\nwant %v with %q", g.Owner, g.Address, g.Err, w.err, w.message)
					}
				case g.Err != nil || g.Address.String() != w.address:
					t.Errorf("%s: got %v %v, want %s", g.Owner, g.Address, g.Err, w.address)
				}
			}
		})
	}
}

// LoxiLB hands out 10.0.0.1 again at the 256th address of a /22.
func TestLargePoolHasNoDuplicates(t *testing.T) {
	pools := mustPools(t, "10.0.0.0/22")
	requests := make([]Request, pools[0].Size()+1)
	for i := range requests {
		requests[i] = ask(strconv.Itoa(i), "80/tcp")
	}
	seen := map[netip.Addr]string{}
	for i, a := range Assign(pools, requests, Options{}) {
		if int64(i) == pools[0].Size() {
			if !errors.Is(a.Err, ErrExhausted) {
				t.Errorf("one more than the pool holds: got %v %v, want %v", a.Address, a.Err, ErrExhausted)
			}
			continue
		}
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		if other, ok := seen[a.Address]; ok {
			t.Fatalf("%s and %s both have %s", other, a.Owner, a.Address)
		}
		seen[a.Address] = a.Owner
	}
}

// Ten thousand services on one port number need ten thousand addresses; a walk
// from the first address for each would be fifty million looks.
func TestManyServicesAreFast(t *testing.T) {
	pools := mustPools(t, "a=10.0.0.0/19,a=10.1.0.0/19")
	requests := make([]Request, 10_000)
	for i := range requests {
		requests[i] = ask(strconv.Itoa(i), "80/tcp").in("a")
	}
	start := time.Now()
	got := Assign(pools, requests, Options{})
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %s, want under 1s", d)
	}
	if last := got[len(got)-1]; last.Address.String() != "10.1.7.18" {
		t.Errorf("the last service has %v %v, want 10.1.7.18", last.Address, last.Err)
	}
}

// ask makes a request from ports written as 80/tcp.
func ask(owner string, ports ...string) Request {
	return Request{Owner: owner, Ports: parsePorts(ports)}
}

func (r Request) at(a string) Request     { r.Address = netip.MustParseAddr(a); return r }
func (r Request) in(pool string) Request  { r.Pool = pool; return r }
func (r Request) v6() Request             { r.IPv6 = true; return r }
func (r Request) status(a string) Request { r.Status = netip.MustParseAddr(a); return r }

func (r Request) held(a string, ports ...string) Request {
	r.Held = Hold{Address: netip.MustParseAddr(a), Ports: parsePorts(ports)}
	return r
}

func parsePorts(texts []string) []Port {
	var ports []Port
	for _, text := range texts {
		number, protocol, _ := strings.Cut(text, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			panic(err)
		}
		ports = append(ports, Port{Number: uint16(n), Protocol: v1.Protocol(protocol)})
	}
	return slices.Clip(ports)
}

func mustPools(t testing.TB, list string) []Pool {
	t.Helper()
	pools, err := ParsePools(list)
	if err != nil {
		t.Fatal(err)
	}
	return pools
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
func sprint(v any) string { return fmt.Sprint(v) }
