package ipam

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"
)

// DefaultPool is the pool of services that select none, and the name of a
// pool that was given without one.
const DefaultPool = "defaultPool"

// Pool is a named set of addresses.
type Pool struct {
	Name string
	// Ranges in the order in which they were given; addresses are given out
	// in that order. They do not overlap.
	Ranges []Range
}

// Range is a run of addresses of one family, both ends included.
type Range struct {
	netipx.IPRange
	// network is the CIDR that the range was written as, masked; the zero
	// value for a range written as first-last.
	network netip.Prefix
}

// ParsePools reads the value of --cidrPools: comma separated name=RANGE, where
// RANGE is a CIDR or first-last. A RANGE without a name belongs to
// DefaultPool; a name given twice is one pool with both ranges.
//
// The host part of a CIDR is the first address given out, as in LoxiLB:
// 192.0.2.200/24 has .200 to .254. The network address and the broadcast
// address of an IPv4 CIDR are left out (some clients still refuse them), save
// in a /31 and a /32; of an IPv6 CIDR only the subnet-router anycast address
// (RFC 4291 section 2.6.1) is, for a router of the subnet would answer to it, save
// in a /127 (RFC 6164) and a /128. A first-last range is taken as it is written.
//
// A pool may have both families. What it costs depends on what is given out, and
// not on how much there is.
func ParsePools(list string) ([]Pool, error) {
	var pools []Pool
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, text, named := strings.Cut(item, "=")
		if !named {
			name, text = DefaultPool, item
		}
		if name == "" {
			return nil, fmt.Errorf("parse pool %q: %w: no name before =; write name=CIDR", item, ErrSyntax)
		}
		r, err := parseRange(text)
		if err != nil {
			return nil, fmt.Errorf("parse pool %q: %w", item, err)
		}
		if i := slices.IndexFunc(pools, func(p Pool) bool { return p.Name == name }); i >= 0 {
			pools[i].Ranges = append(pools[i].Ranges, r)
		} else {
			pools = append(pools, Pool{Name: name, Ranges: []Range{r}})
		}
	}
	if len(pools) == 0 {
		return nil, fmt.Errorf("parse pools: %w: no pool given; write name=CIDR", ErrEmpty)
	}
	return pools, checkOverlap(pools)
}

func parseRange(text string) (Range, error) {
	var r Range
	var err error
	switch {
	case text == "":
		return Range{}, fmt.Errorf("%w: no address given; write a CIDR or first-last", ErrEmpty)
	case strings.Contains(text, "/"):
		r, err = parseCIDR(text)
	case strings.Contains(text, "-"):
		r, err = parseFirstLast(text)
	default:
		bits := 32
		if strings.Contains(text, ":") {
			bits = 128
		}
		return Range{}, fmt.Errorf("%w: %q is no CIDR and no range; write %s/%d or first-last", ErrSyntax, text, text, bits)
	}
	if err != nil {
		return Range{}, err
	}
	return r, checkUnicast(r)
}

func parseCIDR(text string) (Range, error) {
	host, length, _ := strings.Cut(text, "/")
	first, err := parseAddr(host)
	if err != nil {
		return Range{}, err
	}
	bits, err := strconv.Atoi(length)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return Range{}, fmt.Errorf("%w: %q is no prefix length", ErrSyntax, length)
	case err != nil || bits < 0 || bits > first.BitLen():
		return Range{}, fmt.Errorf("%w: /%s, an address of this family has /0 to /%d", ErrPrefixLength, length, first.BitLen())
	}
	network := netip.PrefixFrom(first, bits).Masked()
	last := netipx.PrefixLastIP(network)
	if bits < first.BitLen()-1 {
		if first == network.Addr() {
			first = first.Next()
		}
		if first == last && first.Is4() {
			return Range{}, fmt.Errorf("%w: %s is the broadcast address of %s; start lower", ErrEmpty, first, network)
		}
		if first.Is4() {
			last = last.Prev()
		}
	}
	return Range{IPRange: netipx.IPRangeFrom(first, last), network: network}, nil
}

func parseFirstLast(text string) (Range, error) {
	a, b, _ := strings.Cut(text, "-")
	first, err := parseAddr(strings.TrimSpace(a))
	if err != nil {
		return Range{}, err
	}
	last, err := parseAddr(strings.TrimSpace(b))
	switch {
	case err != nil:
		return Range{}, err
	case first.Is4() != last.Is4():
		return Range{}, fmt.Errorf("%w: %s and %s are of two families", ErrSyntax, first, last)
	case last.Less(first):
		return Range{}, fmt.Errorf("%w: %s is before %s; write %s-%s", ErrReversed, last, first, last, first)
	}
	return Range{IPRange: netipx.IPRangeFrom(first, last)}, nil
}

// parseAddr reads an address as the network knows it: a zone is one machine's
// name for a link, and an IPv4 address has one spelling here.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return a, fmt.Errorf("%w: %q is no address", ErrSyntax, text)
	case a.Zone() != "":
		return a, fmt.Errorf("%w: %q is no address of a service: it has a zone; use one that is valid beyond a link", ErrSyntax, text)
	case a.Is4In6():
		return a, fmt.Errorf("%w: %q is no address of a service: it is IPv4 in IPv6; write %s", ErrSyntax, text, a.Unmap())
	}
	return a, nil
}

// notUnicast are the ranges of RFC 6890 that no service address can be in.
var notUnicast = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

func checkUnicast(r Range) error {
	for _, p := range notUnicast {
		if r.Overlaps(netipx.RangeOfPrefix(p)) {
			return fmt.Errorf("%w: %s reaches into %s; use unicast addresses", ErrNotUnicast, r, p)
		}
	}
	return nil
}

func checkOverlap(pools []Pool) error {
	type named struct {
		pool string
		Range
	}
	var all []named
	for _, p := range pools {
		for _, r := range p.Ranges {
			for _, o := range all {
				if r.Overlaps(o.IPRange) {
					return fmt.Errorf("parse pools: %w: %s of %s and %s of %s share addresses; make them disjoint",
						ErrOverlap, o.Range, o.pool, r, p.Name)
				}
			}
			all = append(all, named{p.Name, r})
		}
	}
	return nil
}

// Family is the part of the pool that has addresses of one family.
func (p Pool) Family(ipv6 bool) Pool {
	out := Pool{Name: p.Name}
	for _, r := range p.Ranges {
		if r.From().Is6() == ipv6 {
			out.Ranges = append(out.Ranges, r)
		}
	}
	return out
}

// Contains says whether a is in one of the pool's ranges.
func (p Pool) Contains(a netip.Addr) bool {
	return slices.ContainsFunc(p.Ranges, func(r Range) bool { return r.IPRange.Contains(a) })
}

// Size counts the pool's addresses, at most the largest int64.
func (p Pool) Size() int64 {
	total := new(big.Int)
	for _, r := range p.Ranges {
		from, to := new(big.Int).SetBytes(r.From().AsSlice()), new(big.Int).SetBytes(r.To().AsSlice())
		total.Add(total, to.Sub(to, from).Add(to, big.NewInt(1)))
	}
	if !total.IsInt64() {
		return math.MaxInt64
	}
	return total.Int64()
}

// Prefixes returns the fewest prefixes that cover the pool. The network and
// broadcast addresses that a CIDR leaves out count as covered, so that
// 192.0.2.1/24 is one prefix instead of fourteen.
func (p Pool) Prefixes() []netip.Prefix {
	var b netipx.IPSetBuilder
	for _, r := range p.Ranges {
		from, to := r.From(), r.To()
		if r.network.IsValid() {
			if from.Prev() == r.network.Addr() {
				from = r.network.Addr()
			}
			to = netipx.PrefixLastIP(r.network)
		}
		b.AddRange(netipx.IPRangeFrom(from, to))
	}
	set, err := b.IPSet()
	if err != nil {
		// The builder only fails on invalid input, which no Range holds.
		return nil
	}
	return set.Prefixes()
}

// String prints the ranges: "192.0.2.1-192.0.2.254, 198.51.100.7-198.51.100.7".
func (p Pool) String() string {
	texts := make([]string, len(p.Ranges))
	for i, r := range p.Ranges {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
