package ipam

import (
	"cmp"
	"errors"
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

func (p Port) compare(o Port) int {
	return cmp.Or(cmp.Compare(p.Number, o.Number), strings.Compare(string(p.Protocol), string(o.Protocol)))
}

// Addresses are those of one service, one of each family at most; zero for none.
type Addresses struct {
	IPv4 netip.Addr `json:"address,omitzero"`
	IPv6 netip.Addr `json:"address6,omitzero"`
}

// Set puts a in the place of its family. It does nothing with the zero address.
func (a *Addresses) Set(x netip.Addr) {
	switch {
	case x.Is6():
		a.IPv6 = x
	case x.IsValid():
		a.IPv4 = x
	}
}

// Of is the address of one family.
func (a Addresses) Of(ipv6 bool) netip.Addr {
	if ipv6 {
		return a.IPv6
	}
	return a.IPv4
}

// List has those that there are, IPv4 first.
func (a Addresses) List() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{a.IPv4, a.IPv6}, func(x netip.Addr) bool { return !x.IsValid() })
}

// Hold is what a service has from an earlier assignment.
type Hold struct {
	Addresses
	// Ports that the service had then. Optional: unknown where the address
	// comes from a status.
	Ports []Port `json:"ports,omitempty"`
	// Kept says that the service is not served now, so that nothing but a
	// memory tells what it holds.
	Kept bool `json:"kept,omitempty"`
}

// Want is one address that a service wants.
type Want struct {
	IPv6 bool
	// Address asks for this address and no other, of the family that IPv6
	// says. Optional.
	Address netip.Addr
}

// Request is what one service wants.
type Request struct {
	// Owner names the service, unique among the requests.
	Owner string
	// Ports, at least one, none twice.
	Ports []Port
	// Pool is optional; empty means DefaultPool, or the first pool where none
	// has that name, and for an address that is held or asked for any pool.
	Pool string
	// Wants are one a family at most, in the order of the answers.
	Wants []Want
	// Together says that one who holds nothing gets all that it wants or
	// nothing. One who holds something keeps it even where the rest cannot be
	// had: its clients come by it.
	Together bool
	// Held is what the last assignment gave. Optional.
	Held Hold
	// Status is what the service's status says, for when the last assignment
	// is not known. Who holds the same by an assignment comes before: another
	// controller may have written the status. Optional.
	Status Hold
}

// Given answers a Want. Either Err is set or Address and Pool are.
type Given struct {
	Address netip.Addr
	Pool    string
	// Err wraps one of the sentinels and says what to do.
	Err error
	// Left is set where Address takes the place of another one that was not given
	// up by asking for this one: it wraps one of the sentinels, and says why that
	// cannot be kept.
	Left error
}

// Assignment answers a Request.
type Assignment struct {
	Owner string
	// Given are the answers to Wants, in their order.
	Given []Given
}

// Options say how addresses are given out.
type Options struct {
	// Exclusive gives every service addresses of its own (--setUniqueIP).
	// By default services whose ports differ share the lowest address.
	Exclusive bool
	// Nodes are the machines' own addresses, with the machines' names. No
	// service gets one, nor keeps it: traffic to the machine would be its
	// clients'.
	Nodes map[netip.Addr]string
}

// Assign answers every request, in the order of the requests. What a service
// holds comes before what another one asks for, and asking for an address
// before taking any; requests that are equal in that are served in the order
// given. No two services get the same port of an address.
//
// What is held is kept over edits of the pools as long as the selected pool, or
// any where none is selected, has it. What has left that is given up, and another
// one is looked for as for a new service.
//
// The cost is linear in requests and in the addresses looked at; one that has
// a port taken is looked at once for that port, not once a request.
func Assign(pools []Pool, requests []Request, opts Options) []Assignment {
	t := table{pools: pools, exclusive: opts.Exclusive, nodes: opts.Nodes, owners: map[netip.Addr]map[Port]string{}, next: map[place]position{}}
	out := make([]Assignment, len(requests))
	for i, r := range requests {
		out[i] = Assignment{Owner: r.Owner, Given: make([]Given, len(r.Wants))}
	}
	for _, step := range []func(*table, Request, []Given){
		keepUnchangedHeld, keepUnchangedStatus, keepHeld, keepStatus, takeRequested, takeWithRequested, takeLowest, refuseTogether, tellLeft,
	} {
		for i, r := range requests {
			step(&t, r, out[i].Given)
		}
	}
	return out
}

// answered says that a Want has its answer.
func (g Given) answered() bool { return g.Err != nil || g.Address.IsValid() }

// keepUnchangedHeld and keepUnchangedStatus serve those that hold every port that
// they want. They come first: a service that gained a port must not push out one
// that rested.
func keepUnchangedHeld(t *table, r Request, given []Given) { keepUnchanged(t, r, r.Held, given) }

func keepUnchangedStatus(t *table, r Request, given []Given) { keepUnchanged(t, r, r.Status, given) }

func keepUnchanged(t *table, r Request, had Hold, given []Given) {
	for _, p := range r.Ports {
		if !slices.Contains(had.Ports, p) {
			return
		}
	}
	keep(t, r, had.Addresses, given)
}

func keepHeld(t *table, r Request, given []Given) { keep(t, r, r.Held.Addresses, given) }

func keepStatus(t *table, r Request, given []Given) { keep(t, r, r.Status.Addresses, given) }

// keep assigns what the service had where it may have it still: it did not ask
// for another one, a pool that it may use has it, and the ports are free.
func keep(t *table, r Request, had Addresses, given []Given) {
	for i, w := range r.Wants {
		a := had.Of(w.IPv6)
		if given[i].answered() || !a.IsValid() || a.Is6() != w.IPv6 || (w.Address.IsValid() && w.Address != a) {
			continue
		}
		pool, err := t.poolFor(r, a)
		if err != nil || t.conflict(a, r.Ports) != nil {
			continue
		}
		t.take(a, r.Ports, r.Owner)
		given[i] = Given{Address: a, Pool: pool.Name}
	}
}

// takeRequested serves those that ask for all their addresses.
func takeRequested(t *table, r Request, given []Given) {
	take(t, r, given, func(asked, wanted int) bool { return asked == wanted })
}

// takeWithRequested serves those that ask for one of two, and want both
// together.
func takeWithRequested(t *table, r Request, given []Given) {
	take(t, r, given, func(asked, _ int) bool { return asked > 0 })
}

// takeLowest serves all others.
func takeLowest(t *table, r Request, given []Given) {
	take(t, r, given, func(int, int) bool { return true })
}

// take looks for what has no answer yet, and takes it. due says whether it is
// time to, for so many wants, of which so many ask for an address. Wants that
// stand or fall together are looked for together; nothing taken is ever given
// back, for others have chosen by it.
func take(t *table, r Request, given []Given, due func(asked, wanted int) bool) {
	if len(r.Wants) > 1 && r.Together && !slices.ContainsFunc(given, Given.answered) {
		takeTogether(t, r, given, due)
		return
	}
	for i, w := range r.Wants {
		if given[i].answered() || !due(countAsked(w), 1) {
			continue
		}
		if given[i] = t.find(r, w); given[i].Err == nil {
			t.take(given[i].Address, r.Ports, r.Owner)
		}
	}
}

func takeTogether(t *table, r Request, given []Given, due func(asked, wanted int) bool) {
	if !due(countAsked(r.Wants...), len(r.Wants)) {
		return
	}
	whole := true
	for i, w := range r.Wants {
		given[i] = t.find(r, w)
		whole = whole && given[i].Err == nil
	}
	for i, g := range given {
		switch {
		case whole:
			t.take(g.Address, r.Ports, r.Owner)
		case g.Err == nil:
			given[i] = Given{Err: ErrTogether}
		}
	}
}

// refuseTogether looks again for what was free and not given alone: where
// another one has it by now, the next Assign would say so.
func refuseTogether(t *table, r Request, given []Given) {
	for i, g := range given {
		if !errors.Is(g.Err, ErrTogether) {
			continue
		}
		if now := t.find(r, r.Wants[i]); now.Err != nil {
			given[i] = now
		}
	}
}

// tellLeft says why what a service had is not what it has, when all is given.
func tellLeft(t *table, r Request, given []Given) {
	for i, w := range r.Wants {
		had := cmp.Or(r.Held.Of(w.IPv6), r.Status.Of(w.IPv6))
		if w.Address.IsValid() || !had.IsValid() || !given[i].Address.IsValid() || given[i].Address == had {
			continue
		}
		if _, err := t.poolFor(r, had); err != nil {
			given[i].Left = err
			continue
		}
		given[i].Left = t.conflict(had, r.Ports)
	}
}

func countAsked(wants ...Want) (asked int) {
	for _, w := range wants {
		if w.Address.IsValid() {
			asked++
		}
	}
	return asked
}

// poolNames lists the pools for a message: `defaultPool (192.0.2.1-192.0.2.9)`.
func poolNames(pools []Pool) string {
	texts := make([]string, len(pools))
	for i, p := range pools {
		texts[i] = fmt.Sprintf("%s (%s)", p.Name, p)
	}
	return strings.Join(texts, ", ")
}
