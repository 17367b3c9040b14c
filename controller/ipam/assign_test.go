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
		address string // of each family, comma separated; empty for an error
		err     error  // the first
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
		{"a default pool of IPv6 alone takes no service off the first pool", "blue=10.0.0.1-10.0.0.9,defaultPool=2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").held("10.0.0.1", "80/tcp"), ask("b", "80/tcp")},
			[]want{{address: "10.0.0.1"}, {address: "10.0.0.2"}}},
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
		{"with its lowest port, so that the same one is always named", "10.0.0.0/24", true,
			[]Request{ask("a", "443/tcp", "80/udp", "80/tcp", "8080/tcp").at("10.0.0.5"), ask("b", "81/tcp").at("10.0.0.5")},
			[]want{{address: "10.0.0.5"}, {err: ErrInUse, message: "belongs to a (port 80/tcp)"}}},
		{"a half that was free and is not any more is told as the next decision will", "10.0.0.1/32,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").status("10.0.0.1"), ask("b", "80/tcp").v6dual().together(), ask("c", "80/tcp").v6()},
			[]want{{address: "10.0.0.1"}, {err: ErrExhausted, message: "pool defaultPool (2001:db8::1-2001:db8::1)"}, {address: "2001:db8::1"}}},
		{"families do not mix", "10.0.0.0/24,2001:db8::/64,b=10.0.1.0/24", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp"), ask("c", "80/tcp").v6().in("b")},
			[]want{{address: "2001:db8::1"}, {address: "10.0.0.1"}, {err: ErrFamily, message: "pool b has 10.0.1.1"}}},
		{"an IPv6 service gets, shares and asks for addresses as an IPv4 one does", "2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp").v6(), ask("c", "443/tcp").v6(), ask("d", "80/tcp").at("2001:db8::ffff"), ask("e", "80/tcp").at("2001:db8::ffff")},
			[]want{{address: "2001:db8::1"}, {address: "2001:db8::2"}, {address: "2001:db8::1"}, {address: "2001:db8::ffff"},
				{err: ErrInUse, message: "port 80/tcp of 2001:db8::ffff belongs to d"}}},
		{"a pool of all that there is is as cheap as one of a single address", "2000::/3,10.0.0.0/8", false,
			[]Request{ask("a", "80/tcp").dual(), ask("b", "80/tcp").dual()},
			[]want{{address: "10.0.0.1,2000::1"}, {address: "10.0.0.2,2000::2"}}},
		{"an exhausted IPv6 range is told without the IPv4 ones", "10.0.0.0/24,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp").v6()},
			[]want{{address: "2001:db8::1"}, {err: ErrExhausted, message: "pool defaultPool (2001:db8::1-2001:db8::1) has no address left"}}},
		{"a family that the pool lacks is told with the pools that have it", "10.0.0.0/24,six=2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").v6()},
			[]want{{err: ErrFamily, message: "and no IPv6 address; add some with --cidrPools, or select a pool that has some: six"}}},
		{"a family that no pool has", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").v6()}, []want{{err: ErrFamily, message: "and no IPv6 address; add some with --cidrPools"}}},
		{"two families are in the order of the wish", "10.0.0.0/24,2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").v6dual()},
			[]want{{address: "2001:db8::1,10.0.0.1"}}},
		{"ports are shared in each family by itself", "10.0.0.0/24,2001:db8::/64", false,
			[]Request{ask("a", "80/tcp"), ask("b", "80/tcp").dual()},
			[]want{{address: "10.0.0.1"}, {address: "10.0.0.2,2001:db8::1"}}},
		{"exclusive addresses are so in both families", "10.0.0.0/24,2001:db8::/64", true,
			[]Request{ask("a", "80/tcp").dual(), ask("b", "81/tcp").dual()},
			[]want{{address: "10.0.0.1,2001:db8::1"}, {address: "10.0.0.2,2001:db8::2"}}},
		{"two addresses may come from two pools if they are asked for", "10.0.0.0/24,six=2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").dual().at("2001:db8::9")}, []want{{address: "10.0.0.1,2001:db8::9"}}},
		{"what can be had is given, where one of two will do", "10.0.0.0/24,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp").dual()},
			[]want{{address: "2001:db8::1"}, {address: "10.0.0.1,", err: ErrExhausted}}},
		{"nothing is given, where both are wanted; and nothing is lost to others", "10.0.0.1/32,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp").dual().together(), ask("c", "80/tcp")},
			[]want{{address: "2001:db8::1"}, {err: ErrExhausted}, {address: "10.0.0.1"}}},
		{"one that could be given says so", "10.0.0.1/32,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").v6(), ask("b", "80/tcp").dual().together(), ask("c", "81/tcp")},
			[]want{{address: "2001:db8::1"}, {err: ErrTogether}, {address: "10.0.0.1"}}},
		{"nor where the one that was asked for is free, and the other is not", "10.0.0.1/32,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").v6().status("2001:db8::1"), ask("b", "80/tcp").dual().together().at("10.0.0.1"), ask("c", "80/tcp")},
			[]want{{address: "2001:db8::1"}, {err: ErrInUse, message: "belongs to c"}, {address: "10.0.0.1"}}},
		{"who asks for one of two comes before those that take any", "10.0.0.0/24,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").dual(), ask("b", "80/tcp").dual().together().at("10.0.0.1")},
			[]want{{address: "10.0.0.2,", err: ErrExhausted}, {address: "10.0.0.1,2001:db8::1"}}},
		{"two that want both take turns as any do", "10.0.0.1-10.0.0.2,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").dual().together(), ask("b", "80/tcp").dual().together(), ask("c", "80/tcp")},
			[]want{{address: "10.0.0.1,2001:db8::1"}, {err: ErrExhausted}, {address: "10.0.0.2"}}},
		{"who has one and wants both keeps the one, whatever becomes of the other", "10.0.0.0/24,2001:db8::1/128", false,
			[]Request{ask("a", "80/tcp").v6().status("2001:db8::1"), ask("b", "80/tcp").dual().together().held("10.0.0.7", "80/tcp"),
				ask("c", "80/tcp").dual().together().status("10.0.0.8")},
			[]want{{address: "2001:db8::1"}, {address: "10.0.0.7,", err: ErrExhausted}, {address: "10.0.0.8,", err: ErrExhausted}}},
		{"one family more keeps the address, and one less gives its address back", "10.0.0.0/24,2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").dual().together().held("10.0.0.7", "80/tcp"), ask("b", "80/tcp").v6().held("10.0.0.8", "80/tcp").status("2001:db8::8"),
				ask("c", "80/tcp").at("10.0.0.8")},
			[]want{{address: "10.0.0.7,2001:db8::1"}, {address: "2001:db8::8"}, {address: "10.0.0.8"}}},
		{"a status takes nothing from who holds it, as when another controller wrote it", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").status("10.0.0.1", "80/tcp"), ask("b", "80/tcp").held("10.0.0.1", "80/tcp")},
			[]want{{address: "10.0.0.2"}, {address: "10.0.0.1"}}},
		{"of two that have it by their status, who has gained no port keeps it", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").status("10.0.0.1", "81/tcp"), ask("b", "80/tcp").status("10.0.0.1", "80/tcp")},
			[]want{{address: "10.0.0.2"}, {address: "10.0.0.1"}}},
		{"and so does one that has gained none by its status beside one that has in memory", "10.0.0.0/24", false,
			[]Request{ask("a", "80/tcp").held("10.0.0.1", "81/tcp"), ask("b", "80/tcp").status("10.0.0.1", "80/tcp")},
			[]want{{address: "10.0.0.2"}, {address: "10.0.0.1"}}},
		{"both are kept from a status, whatever their order there", "10.0.0.0/24,2001:db8::/64", false,
			[]Request{ask("a", "80/tcp").dual(), ask("b", "80/tcp").dual().status("2001:db8::1").status("10.0.0.1")},
			[]want{{address: "10.0.0.2,2001:db8::2"}, {address: "10.0.0.1,2001:db8::1"}}},
		{"a memory that has an address in the place of another family's is not believed", "10.0.0.0/24,2001:db8::/64", false,
			[]Request{{Owner: "a", Ports: parsePorts([]string{"80/tcp"}), Wants: []Want{{}}, Status: Hold{Addresses: Addresses{IPv4: netip.MustParseAddr("2001:db8::7")}}}},
			[]want{{address: "10.0.0.1"}}},
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
				addresses, err := g.read()
				switch {
				case w.err != nil && (!errors.Is(err, w.err) || !strings.Contains(err.Error(), w.message)):
					t.Errorf("%s: got %s %v\nwant %v with %q", g.Owner, addresses, err, w.err, w.message)
				case (w.err != nil) != (err != nil) || strings.Trim(addresses, ",") != strings.Trim(w.address, ","):
					t.Errorf("%s: got %s %v, want %s", g.Owner, addresses, err, w.address)
				}
			}
		})
	}
}

// TestNodesKeepTheirAddresses has pools that reach into the nodes' network.
func TestNodesKeepTheirAddresses(t *testing.T) {
	nodes := map[netip.Addr]string{}
	for a, name := range map[string]string{"10.0.0.1": "n1", "10.0.0.3": "n3", "10.0.0.4": "n4", "2001:db8::1": "n1"} {
		nodes[netip.MustParseAddr(a)] = name
	}
	for _, row := range []struct {
		says      string
		exclusive bool
		requests  []Request
		want      string // addresses, or an error's words
	}{
		{"they are passed over", false, []Request{ask("a", "80/tcp"), ask("b", "80/tcp"), ask("c", "81/tcp"), ask("d", "80/tcp")}, "10.0.0.2 10.0.0.5 10.0.0.2 10.0.0.6"},
		{"of each family", false, []Request{ask("a", "80/tcp").dual()}, "10.0.0.2,2001:db8::2"},
		{"also where addresses are not shared", true, []Request{ask("a", "80/tcp"), ask("b", "81/tcp")}, "10.0.0.2 10.0.0.5"},
		{"who asks for one is told whose it is", false, []Request{ask("a", "80/tcp").at("10.0.0.3")}, "address of a node: 10.0.0.3 belongs to node n3; ask for another one"},
		{"and whose it is, though others ask for it too", true, []Request{ask("a", "80/tcp").at("10.0.0.3"), ask("b", "80/tcp").at("10.0.0.3")},
			"address of a node: 10.0.0.3 belongs to node n3; ask for another one address of a node: 10.0.0.3 belongs to node n3; ask for another one"},
		{"who has one, since the node came later, gets another", false, []Request{ask("a", "80/tcp").held("10.0.0.4", "80/tcp"), ask("b", "80/tcp").status("10.0.0.3")}, "10.0.0.2 10.0.0.5"},
	} {
		var got []string
		for _, a := range Assign(mustPools(t, "10.0.0.0/24,2001:db8::/64"), row.requests, Options{Exclusive: row.exclusive, Nodes: nodes}) {
			addresses, err := a.read()
			if err != nil {
				addresses = err.Error()
			}
			got = append(got, addresses)
		}
		if text := strings.Join(got, " "); text != row.want {
			t.Errorf("%s: got %s, want %s", row.says, text, row.want)
		}
	}
	_, err := Assign(mustPools(t, "10.0.0.3-10.0.0.4"), []Request{ask("a", "80/tcp")}, Options{Nodes: nodes})[0].read()
	if !errors.Is(err, ErrExhausted) {
		t.Errorf("of a pool that has nothing else: %v", err)
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
		g := a.Given[0]
		if int64(i) == pools[0].Size() {
			if !errors.Is(g.Err, ErrExhausted) {
				t.Errorf("one more than the pool holds: got %v %v, want %v", g.Address, g.Err, ErrExhausted)
			}
			continue
		}
		if g.Err != nil {
			t.Fatal(g.Err)
		}
		if other, ok := seen[g.Address]; ok {
			t.Fatalf("%s and %s both have %s", other, a.Owner, g.Address)
		}
		seen[g.Address] = a.Owner
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
	if last, err := got[len(got)-1].read(); last != "10.1.7.18" {
		t.Errorf("the last service has %v %v, want 10.1.7.18", last, err)
	}
}

// ask makes a request from ports written as 80/tcp.
func ask(owner string, ports ...string) Request {
	return Request{Owner: owner, Ports: parsePorts(ports), Wants: []Want{{}}}
}

func (r Request) in(pool string) Request { r.Pool = pool; return r }
func (r Request) v6() Request            { r.Wants = []Want{{IPv6: true}}; return r }
func (r Request) dual() Request          { r.Wants = []Want{{}, {IPv6: true}}; return r }
func (r Request) v6dual() Request        { r.Wants = []Want{{IPv6: true}, {}}; return r }
func (r Request) together() Request      { r.Together = true; return r }

// at asks for an address in the place of any of its family, or of any at all.
func (r Request) at(a string) Request {
	asked := netip.MustParseAddr(a)
	w := Want{IPv6: asked.Is6(), Address: asked}
	if i := slices.IndexFunc(r.Wants, func(o Want) bool { return o.IPv6 == w.IPv6 }); i >= 0 {
		r.Wants = slices.Clone(r.Wants)
		r.Wants[i] = w
	} else {
		r.Wants = []Want{w}
	}
	return r
}

func (r Request) held(a string, ports ...string) Request {
	r.Held.Set(netip.MustParseAddr(a))
	r.Held.Ports = parsePorts(ports)
	return r
}

// status says that the service's status has an address, with the ports or without.
func (r Request) status(a string, ports ...string) Request {
	r.Status.Set(netip.MustParseAddr(a))
	r.Status.Ports = parsePorts(ports)
	return r
}

// read prints the addresses, with nothing between commas for one that is not
// given, and returns the first error.
func (a Assignment) read() (string, error) {
	texts := make([]string, len(a.Given))
	var first error
	for i, g := range a.Given {
		if g.Address.IsValid() {
			texts[i] = g.Address.String()
		}
		if first == nil {
			first = g.Err
		}
	}
	return strings.Join(texts, ","), first
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
