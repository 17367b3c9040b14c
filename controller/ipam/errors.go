package ipam

import "errors"

// Errors of a pool's notation. They come wrapped in a message that says what
// to write instead.
var (
	// ErrSyntax: neither CIDR nor first-last.
	ErrSyntax = errors.New("malformed pool")
	// ErrEmpty: no pool, or a pool without an address.
	ErrEmpty = errors.New("empty pool")
	// ErrPrefixLength: /33 of IPv4, /129 of IPv6.
	ErrPrefixLength = errors.New("impossible prefix length")
	// ErrReversed: the last address is before the first.
	ErrReversed = errors.New("reversed range")
	// ErrNotUnicast: the range has addresses that no service can have.
	ErrNotUnicast = errors.New("not unicast")
	// ErrOverlap: an address would belong to two pools.
	ErrOverlap = errors.New("overlapping pools")
)

// Errors of an assignment.
var (
	// ErrExhausted: no address of the pool has the ports free.
	ErrExhausted = errors.New("pool exhausted")
	// ErrInUse: another service has a port of the requested address.
	ErrInUse = errors.New("address in use")
	// ErrNode: the requested address is one of a node.
	ErrNode = errors.New("address of a node")
	// ErrOutside: the requested address is in no pool, or not in the selected one.
	ErrOutside = errors.New("address outside the pools")
	// ErrNoSuchPool: the selected pool does not exist.
	ErrNoSuchPool = errors.New("no such pool")
	// ErrFamily: the pool has no address of the wanted family.
	ErrFamily = errors.New("no address of this family")
	// ErrTogether: it could be given, but not what is wanted together with it.
	ErrTogether = errors.New("not given alone")
)
