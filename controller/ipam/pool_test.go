package ipam

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParsePools(t *testing.T) {
	for _, row := range []struct {
		says, list string
		// want is name: ranges (size), a line a pool.
		want []string
	}{
		{"the article's CIDR starts at its host part and ends before the broadcast address",
			"123.123.123.1/24", []string{"defaultPool: 123.123.123.1-123.123.123.254 (254)"}},
		{"a host part in the middle leaves out what is before it",
			"defaultPool=192.168.80.200/24", []string{"defaultPool: 192.168.80.200-192.168.80.254 (55)"}},
		{"a host part of zero leaves out the network address",
			"192.0.2.0/29", []string{"defaultPool: 192.0.2.1-192.0.2.6 (6)"}},
		{"a /32 is its one address", "a=192.0.2.7/32", []string{"a: 192.0.2.7-192.0.2.7 (1)"}},
		{"a /31 has both of its addresses (RFC 3021)", "192.0.2.6/31", []string{"defaultPool: 192.0.2.6-192.0.2.7 (2)"}},
		{"a range is taken as written, across octets too",
			"a=10.0.0.250-10.0.1.10", []string{"a: 10.0.0.250-10.0.1.10 (17)"}},
		{"a range of one address", "10.0.0.5-10.0.0.5", []string{"defaultPool: 10.0.0.5-10.0.0.5 (1)"}},
		{"several pools keep their order; blanks and empty items do not matter",
			" b=10.0.0.0/30 ,, a=10.0.1.0/30,", []string{"b: 10.0.0.1-10.0.0.2 (2)", "a: 10.0.1.1-10.0.1.2 (2)"}},
		{"a name given twice is one pool",
			"a=10.0.0.1/32,b=10.0.1.1/32,a=10.0.2.1/32", []string{"a: 10.0.0.1-10.0.0.1, 10.0.2.1-10.0.2.1 (2)", "b: 10.0.1.1-10.0.1.1 (1)"}},
		{"IPv6 leaves out the anycast address only",
			"2001:db8::/126", []string{"defaultPool: 2001:db8::1-2001:db8::3 (3)"}},
		{"the size of a big IPv6 pool stops at the largest int64",
			"2001:db8::1/32", []string{"defaultPool: 2001:db8::1-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff (9223372036854775807)"}},
		{"a /127 of IPv6 has both of its addresses (RFC 6164)", "2001:db8::/127", []string{"defaultPool: 2001:db8::-2001:db8::1 (2)"}},
		{"a /128 is its one address", "2001:db8::/128", []string{"defaultPool: 2001:db8::-2001:db8:: (1)"}},
		{"a range of IPv6 is taken as written, the anycast address of its subnet too, and printed in its short form (RFC 5952)",
			"2001:DB8:0:0::0-2001:0db8::00ff", []string{"defaultPool: 2001:db8::-2001:db8::ff (256)"}},
		{"a /64 that starts at its host part", "2001:db8::100/64",
			[]string{"defaultPool: 2001:db8::100-2001:db8::ffff:ffff:ffff:ffff (9223372036854775807)"}},
		{"a pool of both families", "a=10.0.0.1/32,a=2001:db8::1/128,b=fd00::1-fd00::2",
			[]string{"a: 10.0.0.1-10.0.0.1, 2001:db8::1-2001:db8::1 (2)", "b: fd00::1-fd00::2 (2)"}},
	} {
		t.Run(row.says, func(t *testing.T) {
			pools, err := ParsePools(row.list)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range pools {
				got = append(got, p.Name+": "+p.String()+" ("+itoa(p.Size())+")")
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

func TestParsePoolsRefuses(t *testing.T) {
	for _, row := range []struct {
		list    string
		want    error
		message string
	}{
		{"", ErrEmpty, "write name=CIDR"},
		{" , ", ErrEmpty, "no pool given"},
		{"a=", ErrEmpty, `parse pool "a="`},
		{"=10.0.0.0/24", ErrSyntax, "no name before ="},
		{"10.0.0.1", ErrSyntax, "write 10.0.0.1/32"},
		{"10.0.0.0/33", ErrPrefixLength, "/33, an address of this family has /0 to /32"},
		{"10.0.0.0/-1", ErrPrefixLength, "/0 to /32"},
		{"10.0.0.0/999999999999999999999", ErrPrefixLength, "/0 to /32"},
		{"10.0.0.0/x", ErrSyntax, `"x" is no prefix length`},
		{"2001:db8::/129", ErrPrefixLength, "/0 to /128"},
		{"10.0.0.256/24", ErrSyntax, `"10.0.0.256" is no address`},
		{"::ffff:10.0.0.1/120", ErrSyntax, "is no address"},
		{"a=::ffff:10.0.0.1/120", ErrSyntax, "it is IPv4 in IPv6; write 10.0.0.1"},
		{"::ffff:10.0.0.1-::ffff:10.0.0.9", ErrSyntax, "it is IPv4 in IPv6; write 10.0.0.1"},
		{"10.0.0.1-::ffff:10.0.0.9", ErrSyntax, "it is IPv4 in IPv6; write 10.0.0.9"},
		{"fe80::1%eth0/128", ErrSyntax, `"fe80::1%eth0" is no address of a service: it has a zone`},
		{"2001:db8::1%1-2001:db8::2%1", ErrSyntax, "it has a zone"},
		{"2001:db8::1", ErrSyntax, "write 2001:db8::1/128 or first-last"},
		{"2001:db8::g/64", ErrSyntax, `"2001:db8::g" is no address`},
		{"2001:db8::9-2001:db8::5", ErrReversed, "write 2001:db8::5-2001:db8::9"},
		{"10.0.0.255/24", ErrEmpty, "broadcast address"},
		{"10.0.0.9-10.0.0.5", ErrReversed, "write 10.0.0.5-10.0.0.9"},
		{"10.0.0.9-2001:db8::1", ErrSyntax, "two families"},
		{"10.0.0.9-", ErrSyntax, `"" is no address`},
		{"224.0.0.1/24", ErrNotUnicast, "224.0.0.0/3"},
		{"0.0.0.0/0", ErrNotUnicast, "0.0.0.0/8"},
		{"127.0.0.1/32", ErrNotUnicast, "127.0.0.0/8"},
		{"fe80::1/64", ErrNotUnicast, "fe80::/10"},
		{"ff02::1/128", ErrNotUnicast, "ff00::/8"},
		{"::1/128", ErrNotUnicast, "::/127"},
		{"::/0", ErrNotUnicast, "::/127"},
		{"::2-::1:0:0:0", ErrNotUnicast, "::ffff:0.0.0.0/96"},
		{"fe7f::-fec0::", ErrNotUnicast, "fe80::/10"},
		{"a=10.0.0.0/24,b=10.0.0.200-10.0.1.4", ErrOverlap, "10.0.0.1-10.0.0.254 of a and 10.0.0.200-10.0.1.4 of b"},
		{"a=10.0.0.0/24,a=10.0.0.9/32", ErrOverlap, "make them disjoint"},
		{"a=2001:db8::/32,b=10.0.0.0/24,c=2001:db8:ffff::5-2001:db8:ffff::9", ErrOverlap, "of a and 2001:db8:ffff::5-2001:db8:ffff::9 of c"},
	} {
		t.Run(row.list, func(t *testing.T) {
			pools, err := ParsePools(row.list)
			if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.message) {
				t.Errorf("got %v, %v\nwant %v with %q", pools, err, row.want, row.message)
			}
		})
	}
}

func TestPrefixesCoverThePool(t *testing.T) {
	for list, want := range map[string]string{
		"123.123.123.1/24":          "[123.123.123.0/24]",
		"192.168.80.200/24":         "[192.168.80.200/29 192.168.80.208/28 192.168.80.224/27]",
		"10.0.0.5-10.0.0.8":         "[10.0.0.5/32 10.0.0.6/31 10.0.0.8/32]",
		"192.0.2.6/31,192.0.2.4/31": "[192.0.2.4/30]",
		"192.0.2.7/32":              "[192.0.2.7/32]",
		"2001:db8::1/64":            "[2001:db8::/64]",
	} {
		pool := mustPools(t, list)[0]
		got := pool.Prefixes()
		if text := sprint(got); text != want {
			t.Errorf("%s: got %s, want %s", list, text, want)
		}
		for _, r := range pool.Ranges {
			for _, a := range []netip.Addr{r.From(), r.To()} {
				if !slices.ContainsFunc(got, func(p netip.Prefix) bool { return p.Contains(a) }) {
					t.Errorf("%s: %s is covered by none of %s", list, a, got)
				}
			}
		}
	}
}

// TestFamily holds that a pool of both families falls into two, which together
// are all of it.
func TestFamily(t *testing.T) {
	pool := mustPools(t, "a=10.0.0.1/32,a=2001:db8::1/128,a=10.0.1.1/32")[0]
	for ipv6, want := range map[bool]string{false: "10.0.0.1-10.0.0.1, 10.0.1.1-10.0.1.1", true: "2001:db8::1-2001:db8::1"} {
		if got := pool.Family(ipv6); got.Name != "a" || got.String() != want {
			t.Errorf("IPv6 %t: got %s %s, want %s", ipv6, got.Name, got, want)
		}
	}
}
