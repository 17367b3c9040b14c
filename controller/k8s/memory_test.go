package k8s

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// sight is a cluster as a Memory sees it: what the status of Services tells.
type sight map[string][]netip.Addr

func (s sight) Counts() Counts                   { return Counts{string(services): len(s)} }
func (s sight) told(service string) []netip.Addr { return s[service] }

// TestMemoryDoesNotGrowWithServices holds that what is written is as small with
// many Services of both families, refused ones among them, as with few.
func TestMemoryDoesNotGrowWithServices(t *testing.T) {
	const small = 1 << 10 // bytes, of 1 MiB
	next := controller.Memory{Addresses: map[string]ipam.Hold{}, LBs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	for i := range 20_000 {
		h := ipam.Hold{Ports: []ipam.Port{{Number: 80, Protocol: "tcp"}}, Kept: i%10 == 0}
		h.Set(netip.MustParseAddr("203.0.113.1"))
		h.Set(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
		next.Addresses[fmt.Sprintf("default/s%d", i)] = h
	}
	m := &Memory{source: sight{}}
	data, err := json.Marshal(m.contentOf(next))
	if err != nil || len(data) > small {
		t.Errorf("%d bytes, %v; want %d at most", len(data), err, small)
	}
}

// TestAddressesOfEarlierVersionsStayUntilTold follows a ConfigMap that has what
// no status said yet when it was written.
func TestAddressesOfEarlierVersionsStayUntilTold(t *testing.T) {
	hold := func(addresses ...string) (h ipam.Hold) {
		for _, a := range addresses {
			h.Set(netip.MustParseAddr(a))
		}
		return h
	}
	list := func(addresses ...string) []netip.Addr { return hold(addresses...).List() }
	kept := map[string]ipam.Hold{"default/a": hold("2001:db8::1"), "default/b": hold("192.0.2.1", "2001:db8::2")}
	for _, row := range []struct {
		says string
		now  map[string]ipam.Hold
		told sight
		want bool // it stays
	}{
		{"no status has any", kept, sight{"default/a": nil, "default/b": nil}, true},
		{"one of two has", kept, sight{"default/a": list("2001:db8::1"), "default/b": nil}, true},
		{"one has one of its two", kept, sight{"default/a": list("2001:db8::1"), "default/b": list("192.0.2.1")}, true},
		{"all have all", kept, sight{"default/a": list("2001:db8::1"), "default/b": list("192.0.2.1", "2001:db8::2")}, false},
		{"one has, the other is gone", map[string]ipam.Hold{"default/a": kept["default/a"]}, sight{"default/a": list("2001:db8::1")}, false},
		{"one has, the other got an address of its own wish", map[string]ipam.Hold{"default/a": kept["default/a"], "default/b": hold("192.0.2.9")},
			sight{"default/a": list("2001:db8::1"), "default/b": nil}, false},
	} {
		m := &Memory{source: row.told, content: memoryContent{Kept: kept}}
		if got := m.contentOf(controller.Memory{Addresses: row.now}); (len(got.Kept) == len(kept)) != row.want {
			t.Errorf("%s: %d stay, want them to: %v", row.says, len(got.Kept), row.want)
		}
	}
}

// FuzzDecodeMemory holds that what a ConfigMap remembers is taken as it would be
// written, with an epoch that has a later one, or refused in one line.
func FuzzDecodeMemory(f *testing.F) {
	for _, seed := range []string{
		`{"epoch":1764500000000,"lbs":["192.168.80.11","192.168.80.10"],"counts":{"services":3}}`, "", `null`, `{}`, `{"epoch":18446744073709551615}`,
		`{"epoch":1,"kept":{"default/a":{"address":"192.0.2.1","address6":"2001:db8::1","ports":[{"number":80,"protocol":"tcp"}],"kept":true}}}`,
		`{"epoch":-1}`, `{"lbs":["fe80::1%eth0",""]}`, `{"counts":{"services":-3}}`, `[`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		content, err := decodeMemory(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || !sameContent(content, memoryContent{}) {
				t.Fatalf("%+v is refused by %q", content, err)
			}
			return
		}
		if content.Epoch+1 < content.Epoch {
			t.Fatalf("nothing is later than epoch %d", content.Epoch)
		}
		written, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeMemory(string(written)); err != nil || !sameContent(again, content) {
			t.Fatalf("%+v became %+v, %v", content, again, err)
		}
	})
}
