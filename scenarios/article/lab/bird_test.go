package lab

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestParsePaths(t *testing.T) {
	const out = `BIRD 2.0.12 ready.
Table master4:
123.123.123.1/32     unicast [master1 23:30:47.301] * (100) [AS64512i]
	via 192.168.80.10 on eth1
	Type: BGP univ
	BGP.as_path: 64512
	BGP.med: 0
	BGP.local_pref: 100
                     unicast [master2 23:30:46.695] (100) [AS64512i]
	via 192.168.80.11 on eth1
	BGP.as_path: 64512 64512
	BGP.med: 10
`
	want := []Path{
		{Via: netip.MustParseAddr("192.168.80.10"), Best: true, ASPath: []int{64512}},
		{Via: netip.MustParseAddr("192.168.80.11"), ASPath: []int{64512, 64512}, MED: 10},
	}
	got, err := parsePaths(out)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for name, out := range map[string]string{"nothing known": "BIRD 2.0.12 ready.\nNetwork not found\n", "empty": ""} {
		if got, err := parsePaths(out); err != nil || len(got) != 0 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if _, err := parsePaths("x unicast [m 1] (100)\n\tBGP.med: many\n"); err == nil {
		t.Error("a MED that is no number was read")
	}
}
