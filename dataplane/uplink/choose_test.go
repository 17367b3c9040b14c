package uplink

import (
	"net/netip"
	"testing"
)

func TestChoose(t *testing.T) {
	eth0 := Port{Index: 2, Name: "eth0", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.15")}}
	eth1 := Port{Index: 3, Name: "eth1", Addresses: []netip.Addr{netip.MustParseAddr("192.168.80.10"), netip.MustParseAddr("192.168.80.20")}}
	bare := Port{Index: 1, Name: "eth9"}
	way := func(device int, source string) Way { return Way{Device: device, Source: netip.MustParseAddr(source)} }
	for _, tt := range []struct {
		name  string
		ways  []Way
		ports []Port
		want  string
	}{
		{"where the backends are", []Way{way(3, "192.168.80.10")}, []Port{eth0, eth1}, "eth1 192.168.80.10"},
		{"by the first of the backends", []Way{way(2, "10.0.2.15"), way(3, "192.168.80.10")}, []Port{eth0, eth1}, "eth0 10.0.2.15"},
		{"with the address that the route takes", []Way{way(3, "192.168.80.20")}, []Port{eth0, eth1}, "eth1 192.168.80.20"},
		{"below an overlay", []Way{way(7, "192.168.80.10")}, []Port{eth0, eth1}, "eth1 192.168.80.10"},
		{"behind an overlay that has no address below", []Way{way(7, "10.42.0.0")}, []Port{eth0, eth1}, "eth0 10.0.2.15"},
		{"without backends the first with an address", nil, []Port{bare, eth0, eth1}, "eth0 10.0.2.15"},
		{"a source that is another port's", []Way{way(3, "10.99.0.1")}, []Port{eth0, eth1}, "eth1 192.168.80.10"},
		{"never one without an address", []Way{way(1, "192.168.80.10")}, []Port{bare}, ""},
		{"no port", []Way{way(3, "192.168.80.10")}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Choose(tt.ways, tt.ports)
			text := ""
			if ok {
				text = got.Port.Name + " " + got.Source.String()
			}
			if text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}
