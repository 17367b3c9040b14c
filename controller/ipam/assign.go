package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Port is what of an address a service takes.
type Port struct {
	Number   uint16      `json:"number"`
	Protocol v1.Protocol `json:"protocol"`
}

// String prints 80/tcp.
func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Number, p.Protocol) }

// Hold is an address that a service has from an earlier assignment.
type Hold struct {
	Address netip.Addr `json:"address"`
	// Ports that the service had then. Optional: unknown where the address
	// comes from a status.
	Ports []Port `json:"ports,omitempty"`
	// Kept says that the service is not served now, so that nothing but a
	// memory tells what it holds.
	Kept bool `json:"kept,omitempty"`
}

// Request is what one service wants.
type Request struct {
	// Owner names the service, unique among the requests.
	Owner string
	// Ports, at least one, none twice.
	Ports []Port
	// Pool is optional; empty means DefaultPool, or the first pool where none
	// has that name. With Address set, empty means any pool.
	Pool string
	// Address asks for this address and no other. Optional.
	Address netip.Addr
	// IPv6 asks for an IPv6 address; Address decides where it is set.
	IPv6 bool
	// Held is what the last assignment gave. Optional.
	Held Hold
	// Status is what the service's status says, for when the last assignment
	// is not known. Optional.
	Status netip.Addr
}

// Assignment answers a Request. Either Err is set or Address and Pool are.
type Assignment struct {
	Owner   string
	Address netip.Addr
	Pool    string
	// Err wraps one of the sentinels and says what to do.
	Err error
}

// Options say how addresses are given out.
type Options struct {
	// Exclusive gives every service an address of its own (--setUniqueIP).
	// By default services whose ports differ share the lowest address.
	Exclusive bool
}

// Assign answers every request, in the order of the requests. What a service
// holds comes before what another one asks for, and asking for an address
// before taking any; requests that are equal in that are served in the order
// given. No two services get the same port of an address.
//
// The cost is linear in requests and in the addresses looked at; one that has
// a port taken is looked at once for that port, not once a request.
func Assign(pools []Pool, requests []Request, opts Options) []Assignment {
	t := table{pools: pools, exclusive: opts.Exclusive, owners: map[netip.Addr]map[Port]string{}, next: map[place]position{}}
	out := make([]Assignment, len(requests))
	for _, step := range []func(*table, Request) (Assignment, bool){
		keepUnchanged, keepHeld, keepStatus, takeRequested, takeLowest,
	} {
		for i, r := range requests {
			if out[i].Owner != "" {
				continue
			}
			if a, ok := step(&t, r); ok {
				a.Owner = r.Owner
				out[i] = a
			}
		}
	}
	return out
}

// keepUnchanged serves those that hold every port that they want. They come
// first: a service that gained a port must not push out one that rested.
func keepUnchanged(t *table, r Request) (Assignment, bool) {
	for _, p := range r.Ports {
		if !slices.Contains(r.Held.Ports, p) {
			return Assignment{}, false
		}
	}
	return keep(t, r, r.Held.Address)
}

func keepHeld(t *table, r Request) (Assignment, bool) { return keep(t, r, r.Held.Address) }

func keepStatus(t *table, r Request) (Assignment, bool) { return keep(t, r, r.Status) }

// keep assigns a where the service may have it still: it did not ask for
// another one, a pool that it may use has it, and the ports are free.
func keep(t *table, r Request, a netip.Addr) (Assignment, bool) {
	if !a.IsValid() || (r.Address.IsValid() && r.Address != a) || (!r.Address.IsValid() && a.Is6() != r.IPv6) {
		return Assignment{}, false
	}
	pool, err := t.poolFor(r, a)
	if err != nil || t.conflict(a, r.Ports) != nil {
		return Assignment{}, false
	}
	t.take(a, r.Ports, r.Owner)
	return Assignment{Address: a, Pool: pool.Name}, true
}

func takeRequested(t *table, r Request) (Assignment, bool) {
	if !r.Address.IsValid() {
		return Assignment{}, false
	}
	pool, err := t.poolFor(r, r.Address)
	if err != nil {
		return Assignment{Err: err}, true
	}
	if err := t.conflict(r.Address, r.Ports); err != nil {
		return Assignment{Err: err}, true
	}
	t.take(r.Address, r.Ports, r.Owner)
	return Assignment{Address: r.Address, Pool: pool.Name}, true
}

func takeLowest(t *table, r Request) (Assignment, bool) {
	i, err := t.selectPool(r.Pool)
	if err != nil {
		return Assignment{Err: err}, true
	}
	a, err := t.lowest(i, r)
	if err != nil {
		return Assignment{Err: err}, true
	}
	t.take(a, r.Ports, r.Owner)
	return Assignment{Address: a, Pool: t.pools[i].Name}, true
}

// poolNames lists the pools for a message: `defaultPool (192.0.2.1-192.0.2.9)`.
func poolNames(pools []Pool) string {
	texts := make([]string, len(pools))
	for i, p := range pools {
		texts[i] = fmt.Sprintf("%s (%s)", p.Name, p)
	}
	return strings.Join(texts, ", ")
}
