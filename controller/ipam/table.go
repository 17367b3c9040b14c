package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// table is who has what during one Assign.
type table struct {
	pools     []Pool
	exclusive bool
	nodes     map[netip.Addr]string
	owners    map[netip.Addr]map[Port]string
	// next is where to look for a port first: it is taken at every address of
	// the pool before that position. Nothing is given back during an Assign,
	// so positions only advance.
	next map[place]position
}

// place is a port of a pool. The zero Port stands for a whole address.
type place struct {
	pool int
	ipv6 bool
	port Port
}

// position is an address within a pool's ranges.
type position struct {
	rng  int
	addr netip.Addr
}

func (p position) before(o position) bool {
	return p.rng < o.rng || (p.rng == o.rng && p.addr.Less(o.addr))
}

// selectPool finds the pool of a service that asks for no address. A default pool
// of the other family alone takes nobody away from the first one.
func (t *table) selectPool(name string, ipv6 bool) (int, error) {
	if name == "" {
		i := t.named(DefaultPool)
		if i >= 0 && (len(t.pools[i].Family(ipv6).Ranges) > 0 || len(t.pools[0].Family(ipv6).Ranges) == 0) {
			return i, nil
		}
		if len(t.pools) > 0 {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: there is no pool; give one with --cidrPools", ErrNoSuchPool)
	}
	if i := t.named(name); i >= 0 {
		return i, nil
	}
	return 0, t.noSuchPool(name)
}

func (t *table) noSuchPool(name string) error {
	return fmt.Errorf("%w: %q; use one of %s", ErrNoSuchPool, name, poolNames(t.pools))
}

func (t *table) named(name string) int {
	return slices.IndexFunc(t.pools, func(p Pool) bool { return p.Name == name })
}

// poolFor finds the pool that r may have a from, which it holds or asks for. One
// that names no pool may have it from any: pools are split, renamed and given
// another order under services that rest.
func (t *table) poolFor(r Request, a netip.Addr) (Pool, error) {
	if r.Pool != "" {
		i := t.named(r.Pool)
		if i < 0 {
			return Pool{}, t.noSuchPool(r.Pool)
		}
		if p := t.pools[i]; p.Contains(a) {
			return p, nil
		}
		return Pool{}, fmt.Errorf("%w: %s is not in pool %s (%s); ask for one that is", ErrOutside, a, t.pools[i].Name, t.pools[i])
	}
	for _, p := range t.pools {
		if p.Contains(a) {
			return p, nil
		}
	}
	return Pool{}, fmt.Errorf("%w: %s is in no pool; use one of %s, or add a pool with --cidrPools", ErrOutside, a, poolNames(t.pools))
}

// conflict says who is in the way of ports at a, nil for nobody.
func (t *table) conflict(a netip.Addr, ports []Port) error {
	if node, taken := t.nodes[a]; taken {
		return fmt.Errorf("%w: %s belongs to node %s; ask for another one", ErrNode, a, node)
	}
	if t.exclusive {
		// By order, so that the same port is always named.
		for _, p := range slices.SortedFunc(maps.Keys(t.owners[a]), Port.compare) {
			return fmt.Errorf("%w: %s belongs to %s (port %s) and addresses are not shared; ask for another one", ErrInUse, a, t.owners[a][p], p)
		}
	}
	for _, p := range ports {
		if owner, taken := t.owners[a][p]; taken {
			return fmt.Errorf("%w: port %s of %s belongs to %s; use another port or address", ErrInUse, p, a, owner)
		}
	}
	return nil
}

func (t *table) take(a netip.Addr, ports []Port, owner string) {
	if t.owners[a] == nil {
		t.owners[a] = make(map[Port]string, len(ports))
	}
	for _, p := range ports {
		t.owners[a][p] = owner
	}
}

// find looks for what r wants, and takes nothing.
func (t *table) find(r Request, w Want) Given {
	if w.Address.IsValid() {
		pool, err := t.poolFor(r, w.Address)
		if err == nil {
			err = t.conflict(w.Address, r.Ports)
		}
		if err != nil {
			return Given{Err: err}
		}
		return Given{Address: w.Address, Pool: pool.Name}
	}
	i, err := t.selectPool(r.Pool, w.IPv6)
	if err != nil {
		return Given{Err: err}
	}
	a, err := t.lowest(i, r, w.IPv6)
	if err != nil {
		return Given{Err: err}
	}
	return Given{Address: a, Pool: t.pools[i].Name}
}

// lowest finds the first address of the pool where all ports of r are free.
func (t *table) lowest(pool int, r Request, ipv6 bool) (netip.Addr, error) {
	p := t.pools[pool]
	if len(p.Family(ipv6).Ranges) == 0 {
		return netip.Addr{}, fmt.Errorf("%w: pool %s has %s, and no %s address; add some with --cidrPools%s",
			ErrFamily, p.Name, p, FamilyName(ipv6), t.orPools(r, ipv6))
	}
	ports := r.Ports
	if t.exclusive {
		ports = []Port{{}}
	}
	pos := t.settle(pool, ipv6, position{})
	for _, port := range ports {
		if n := t.next[place{pool, ipv6, port}]; pos.before(n) {
			pos = n
		}
	}
	for pos.rng < len(p.Ranges) {
		port, taken := t.blocked(pos.addr, r.Ports)
		if !taken {
			return pos.addr, nil
		}
		after := t.settle(pool, ipv6, position{pos.rng, pos.addr.Next()})
		t.advance(place{pool, ipv6, port}, pos, after)
		pos = after
	}
	return netip.Addr{}, fmt.Errorf("%w: pool %s (%s) has no address left with port %s free; add addresses with --cidrPools or remove a service",
		ErrExhausted, p.Name, p.Family(ipv6), joinPorts(r.Ports))
}

// settle returns the first position at or after pos that is an address of the
// family; past the last range where there is none. No range ends at the last
// address of its family (checkUnicast), so Next always is an address.
func (t *table) settle(pool int, ipv6 bool, pos position) position {
	ranges := t.pools[pool].Ranges
	for pos.rng < len(ranges) {
		rg := ranges[pos.rng]
		if !pos.addr.IsValid() {
			pos.addr = rg.From()
		}
		if rg.From().Is6() == ipv6 && rg.IPRange.Contains(pos.addr) {
			return pos
		}
		pos = position{rng: pos.rng + 1}
	}
	return pos
}

// blocked returns the port that is taken at a; the zero Port for a whole
// address that is, where addresses are not shared.
func (t *table) blocked(a netip.Addr, ports []Port) (Port, bool) {
	_, node := t.nodes[a]
	if t.exclusive {
		return Port{}, node || len(t.owners[a]) > 0
	}
	if node {
		return ports[0], true // as every other port is
	}
	for _, p := range ports {
		if _, taken := t.owners[a][p]; taken {
			return p, true
		}
	}
	return Port{}, false
}

// advance moves the next position of a port from pos to after, if it stood at
// pos: the addresses between would be skipped unseen otherwise.
func (t *table) advance(pl place, pos, after position) {
	n, known := t.next[pl]
	if !known {
		n = t.settle(pl.pool, pl.ipv6, position{})
	}
	if n == pos {
		t.next[pl] = after
	}
}

// orPools advises the pools that have addresses of a family, if there are any. Who
// wants both families selects a pool for both, and might lose the other address by it.
func (t *table) orPools(r Request, ipv6 bool) string {
	if len(r.Wants) > 1 {
		return ""
	}
	var names []string
	for _, p := range t.pools {
		if len(p.Family(ipv6).Ranges) > 0 {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ", or select a pool that has some: " + strings.Join(names, ", ")
}

// FamilyName is Kubernetes' name of a family.
func FamilyName(ipv6 bool) string {
	if ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

func joinPorts(ports []Port) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = p.String()
	}
	return strings.Join(texts, " and ")
}
