// Package nexthop keeps the way to the backends open: it keeps their
// neighbours resolved, knows this node's address towards each, tells which
// cannot be reached, and makes flows look their next hop up again when a
// route, a neighbour or a link has changed.
package nexthop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/dataplane/rtnl"
)

const (
	// interval is the least time between two looks at what changed, and so
	// the longest that flows go on to a next hop that has moved.
	interval = 50 * time.Millisecond
	// retry is how often a neighbour that does not answer is asked again. A
	// round of the kernel takes 3 s (mcast_solicit 3, retrans_time 1 s).
	retry = time.Second
)

// Generation is where flows see that next hops have changed. *maps.Maps is
// the real one.
type Generation interface {
	// NexthopGeneration is what flows see now.
	NexthopGeneration() (uint32, error)
	SetNexthopGeneration(uint32) error
}

// Paths is what is known of the backends. Its maps are not written any more.
type Paths struct {
	// NodeAddresses has this node's source address towards each backend that
	// has a route.
	NodeAddresses map[netip.Addr]netip.Addr
	// Ways has how each backend with a route is reached.
	Ways map[netip.Addr]Way
	// Unreachable backends have no route, or a neighbour that does not answer.
	Unreachable map[netip.Addr]bool
}

// Way is how packets for a backend leave.
type Way struct {
	// Device is the index of the interface, Kind its rtnetlink kind: "veth",
	// "bridge", "vxlan", or "device" for a physical one.
	Device int
	Kind   string
	// OnLink says that there is no gateway.
	OnLink bool
	// Local backends have an address of this node.
	Local bool
}

func (p Paths) equal(o Paths) bool {
	return maps.Equal(p.NodeAddresses, o.NodeAddresses) && maps.Equal(p.Ways, o.Ways) && maps.Equal(p.Unreachable, o.Unreachable)
}

// Keeper follows the backends that Watch names. Safe for concurrent use.
type Keeper struct {
	kernel     kernel
	generation Generation
	changed    chan struct{}

	mu         sync.Mutex
	paths      map[netip.Addr]path
	neighbours map[neighbour]entry
	// down neighbours have failed and were not resolved since.
	down map[neighbour]bool
	// poked says when a neighbour was asked last.
	poked map[neighbour]time.Time
	// current is the generation that flows see, unless due.
	current uint32
	due     bool
	// again says that a lookup failed and has to be repeated.
	again bool
	told  Paths
}

// New returns a Keeper that watches nothing. It sets a generation that no flow
// has seen: whatever changed while nobody looked, flows look up again. The
// caller closes it.
func New(generation Generation) (*Keeper, error) {
	seen, err := generation.NexthopGeneration()
	if err != nil {
		return nil, err
	}
	k, err := newKernel()
	if err != nil {
		return nil, err
	}
	keeper := &Keeper{
		kernel: k, generation: generation, changed: make(chan struct{}, 1),
		paths: map[netip.Addr]path{}, down: map[neighbour]bool{}, poked: map[neighbour]time.Time{}, current: seen, due: true,
	}
	if err := keeper.bump(); err != nil {
		return nil, errors.Join(err, keeper.Close())
	}
	return keeper, nil
}

// Close lets go of the kernel; call it after Run has ended.
func (k *Keeper) Close() error {
	k.kernel.handle.Close()
	return nil
}

// Changed receives when Paths differs from what Watch or Paths returned last.
func (k *Keeper) Changed() <-chan struct{} { return k.changed }

// Watch makes backends the whole set that is followed, starts to resolve the
// new ones, and returns what is known. It does not wait for neighbours: a
// backend is taken for reachable until it has failed to answer.
func (k *Keeper) Watch(backends []netip.Addr) Paths {
	k.mu.Lock()
	defer k.mu.Unlock()
	paths := make(map[netip.Addr]path, len(backends))
	for _, b := range backends {
		if known, ok := k.paths[b]; ok {
			paths[b] = known
		} else if _, done := paths[b]; !done {
			paths[b] = k.lookUp(b, path{})
		}
	}
	k.paths = paths
	k.resolve(time.Now())
	k.told = k.snapshot()
	return k.told
}

// Paths returns what is known.
func (k *Keeper) Paths() Paths {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = k.snapshot()
	return k.told
}

// Run follows routes, neighbours, addresses and links until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	listener, err := rtnl.Listen(rtnl.All)
	if err != nil {
		return fmt.Errorf("follow next hops: %w", err)
	}
	defer listener.Close()
	if err := k.look(rtnl.All, time.Now()); err != nil { // what changed before Listen
		return err
	}
	return listener.Follow(ctx, interval, retry, func(_ context.Context, kind rtnl.Kind) error {
		return k.look(kind, time.Now())
	})
}

// look takes in what may have changed; no kind is the tick.
func (k *Keeper) look(kind rtnl.Kind, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kind.Has(rtnl.Links | rtnl.Addresses | rtnl.Routes) {
		k.due = true
		k.kernel.forgetDevices()
	}
	if err := k.lookAtNeighbours(); err != nil {
		return err
	}
	if err := k.bump(); err != nil { // flows first, they wait for nobody
		return err
	}
	if k.again || kind.Has(rtnl.Links|rtnl.Addresses|rtnl.Routes) {
		k.again = false
		for b, was := range k.paths {
			k.paths[b] = k.lookUp(b, was)
		}
	}
	k.resolve(now)
	if !k.snapshot().equal(k.told) {
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

func (k *Keeper) lookAtNeighbours() error {
	after, err := k.kernel.neighbours()
	if err != nil {
		return err
	}
	k.due = k.due || moved(k.neighbours, after)
	k.neighbours = after
	return nil
}

// bump tells flows when that is due. A failed write stays due.
func (k *Keeper) bump() error {
	if !k.due {
		return nil
	}
	if err := k.generation.SetNexthopGeneration(k.current + 1); err != nil {
		return err
	}
	k.current++
	k.due = false
	return nil
}

// lookUp returns the path to a backend, what it was when the kernel cannot
// tell now.
func (k *Keeper) lookUp(backend netip.Addr, was path) path {
	p, err := k.kernel.route(backend)
	if err != nil {
		k.again = true
		return was
	}
	return p
}

// resolve judges the neighbours of all backends and pokes those that the
// kernel does not resolve by itself.
func (k *Keeper) resolve(now time.Time) {
	watched := map[neighbour]bool{}
	for _, p := range k.paths {
		if p.routed && !p.local {
			watched[p.via] = true
		}
	}
	var due []neighbour
	for n := range watched {
		state := k.neighbours[n].nud
		if state.reachable(!k.down[n]) {
			delete(k.down, n)
		} else {
			k.down[n] = true
		}
		if state.wantsPoke() && now.Sub(k.poked[n]) >= retry {
			due = append(due, n)
		}
	}
	k.poke(due, now)
	maps.DeleteFunc(k.down, func(n neighbour, _ bool) bool { return !watched[n] })
	maps.DeleteFunc(k.poked, func(n neighbour, _ time.Time) bool { return !watched[n] })
}

// poke makes the kernel resolve neighbours, as they are now: what is known of them
// may be old, or nothing yet.
func (k *Keeper) poke(due []neighbour, now time.Time) {
	if len(due) == 0 {
		return
	}
	present, err := k.kernel.neighbours()
	if err != nil {
		return // tried again with the next look
	}
	for _, n := range due {
		e, exists := present[n]
		if !e.nud.wantsPoke() {
			continue
		}
		k.poked[n] = now
		_ = k.kernel.poke(n, exists) // an interface that is down refuses; tried again
	}
}

func (k *Keeper) snapshot() Paths {
	s := Paths{NodeAddresses: map[netip.Addr]netip.Addr{}, Ways: map[netip.Addr]Way{}, Unreachable: map[netip.Addr]bool{}}
	for backend, p := range k.paths {
		if p.source.IsValid() {
			s.NodeAddresses[backend] = p.source
		}
		if p.routed {
			s.Ways[backend] = Way{Device: p.via.index, Kind: p.kind, OnLink: p.onLink, Local: p.local}
		}
		if !p.routed || !p.local && k.down[p.via] {
			s.Unreachable[backend] = true
		}
	}
	return s
}
