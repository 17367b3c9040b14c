package ipam

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// FuzzParsePools holds that what is taken has addresses, overlaps nowhere and
// is within its prefixes, and that an error is one line.
func FuzzParsePools(f *testing.F) {
	for _, seed := range []string{
		"a=10.0.0.0/24,b=10.0.1.5-10.0.1.9", "defaultPool=123.123.123.1/24", "a=10.0.0.0/33", "a=10.0.0.9-10.0.0.1",
		"a=2001:db8::/64", "a=0.0.0.0/0", "=1.1.1.1/32", "a=10.0.0.0/24,a=10.0.1.0/24", "a=255.255.255.255/31", ",",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		pools, err := ParsePools(list)
		if err != nil {
			if strings.Contains(err.Error(), "\n") && !strings.Contains(list, "\n") {
				t.Fatalf("more than a line: %q", err)
			}
			return
		}
		if err := checkOverlap(pools); err != nil {
			t.Fatal(err)
		}
		for _, p := range pools {
			if p.Name == "" || p.Size() < 1 || len(p.Prefixes()) == 0 {
				t.Fatalf("pool %+v of %d addresses", p, p.Size())
			}
			for _, r := range p.Ranges {
				if r.From().Is4() != r.To().Is4() || r.From().Zone() != "" || r.From().Is4In6() || r.To().Is4In6() || r.To().Less(r.From()) {
					t.Fatalf("%s is no range of one family", r)
				}
				again, err := ParsePools(p.Name + "=" + r.String())
				if err != nil || len(again) != 1 || again[0].String() != r.String() {
					t.Fatalf("%s, written as it is printed, is %v, %v", r, again, err)
				}
				covered := func(a netip.Addr) bool {
					return slices.ContainsFunc(p.Prefixes(), func(prefix netip.Prefix) bool { return prefix.Contains(a) })
				}
				if !covered(r.From()) || !covered(r.To()) {
					t.Fatalf("%s is not within its prefixes %v", p, p.Prefixes())
				}
			}
		}
	})
}
