package hook

import (
	"regexp"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	article := Filter{Blacklist: regexp.MustCompile(`cni[0-9a-z]|veth.|flannel.`)}
	only := Filter{Whitelist: regexp.MustCompile(`^eth`)}
	both := Filter{Whitelist: regexp.MustCompile(`^eth`), Blacklist: regexp.MustCompile(`^eth0$`)}
	tests := []struct {
		filter Filter
		name   string
		used   bool
	}{
		{Filter{}, "eth1", true},
		{Filter{}, "enp1s0f0", true},
		{Filter{}, "ens3", true},
		{Filter{}, "bond0.100", true},
		{Filter{}, "eno1", true},
		{Filter{}, "vmbr0", true},
		{Filter{}, "cni0", false},
		{Filter{}, "veth1a2b3c", false},
		{Filter{}, "flannel.1", false},
		{Filter{}, "cali12345678901", false},
		{Filter{}, "tunl0", false},
		{Filter{}, "vxlan.calico", false},
		{Filter{}, "cilium_host", false},
		{Filter{}, "lxc1234", false},
		{Filter{}, "docker0", false},
		{Filter{}, "br-0123456789ab", false},
		{Filter{}, "kube-ipvs0", false},
		{Filter{}, "nodelocaldns", false},
		{Filter{}, "eni0123456789a", false},
		{article, "eth1", true},
		{article, "cni0", false},
		{article, "flannel.1", false},
		{article, "docker0", true}, // whoever gives a list has decided
		{only, "eth0", true},
		{only, "docker0", false},
		{both, "eth0", false},
		{both, "eth1", true},
	}
	for _, tt := range tests {
		if why := tt.filter.use(tt.name); (why == "") != tt.used {
			t.Errorf("%s: used %t (%s), want %t", tt.name, why == "", why, tt.used)
		}
	}
}

func TestDecide(t *testing.T) {
	nic := netif{name: "eth0", driver: "mlx5_core", ethernet: true}
	with := func(change func(*netif)) netif { n := nic; change(&n); return n }
	veth := with(func(n *netif) { n.driver = "veth" })
	taken := with(func(n *netif) { n.foreignXDP = 12 })
	tests := []struct {
		name    string
		n       netif
		choice  Choice
		tc, xdp bool
		reason  string
	}{
		{"a NIC that transmits gets both", nic, Auto, true, true, "driver mlx5_core transmits from XDP"},
		{"veth gets TC", veth, Auto, true, false, "driver veth is not known"},
		{"veth gets XDP when asked for", veth, XDP, true, true, "--hook=xdp"},
		{"a NIC gets TC when asked for", nic, TC, true, false, "--hook=tc"},
		{"a foreign XDP program stays", taken, Auto, true, false, "XDP program 12 of somebody else"},
		{"a foreign XDP program stays against --hook=xdp", taken, XDP, true, false, "XDP program 12 of somebody else"},
		{"a foreign XDP program does not matter to TC", taken, TC, true, false, "--hook=tc"},
		{"loopback is left alone", with(func(n *netif) { n.name, n.loopback = "lo", true }), XDP, false, false, "loopback"},
		{"a tunnel without Ethernet is left alone", with(func(n *netif) { n.ethernet = false }), XDP, false, false, "not Ethernet"},
		{"a container's interface is left alone", with(func(n *netif) { n.name = "cali1" }), Auto, false, false, "container network"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := decide(tt.n, tt.choice, Filter{})
			if got.tc != tt.tc || got.xdp != tt.xdp || !strings.Contains(got.reason, tt.reason) {
				t.Errorf("got %+v, want tc %t, xdp %t, reason with %q", got, tt.tc, tt.xdp, tt.reason)
			}
		})
	}
}

func TestParseChoice(t *testing.T) {
	for given, want := range map[string]Choice{"": Auto, "auto": Auto, "xdp": XDP, "tc": TC} {
		if got, err := ParseChoice(given); got != want || err != nil {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
	if _, err := ParseChoice("generic"); err == nil || !strings.Contains(err.Error(), "auto, xdp or tc") {
		t.Errorf("generic: %v", err)
	}
}
