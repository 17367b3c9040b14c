package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

var vip = netip.MustParseAddr("123.123.123.1")

// well is a load balancer node in good order.
func well() Facts {
	return Facts{
		Kernel: "6.1.0", Forwarding: true, ClockSynchronised: true,
		Local: []Local{{netip.MustParsePrefix("127.0.0.0/8"), "lo"}, {netip.MustParsePrefix("192.168.80.10/32"), "eth1"}},
		Interfaces: []Interface{
			{
				Name: "eth1", Kind: "ice", Up: true, MTU: 1500, Merges: map[string]bool{"gro": true, "lro": false},
				Programs: []Program{{ID: 7, Name: "weir_tc", Where: "tc ingress", Ours: true}},
			},
			{Name: "flannel.1", Kind: "vxlan", Up: true, MTU: 1450, Overlay: &Overlay{Own: 2, Overhead: 50, Below: "eth1", BelowMTU: 1500}},
		},
		Observed: &v1.ObservedState{
			Node: "master1", Version: "test", Mode: v1.NodeLB,
			Owners: []v1.OwnerStatus{{Owner: "controller"}},
			Interfaces: []v1.Interface{
				{Name: "eth1", Hook: "tc", MTU: 1500},
				{Name: "flannel.1", Hook: "none", Reason: "left alone", MTU: 1450},
			},
			Services: []v1.ServiceStatus{{
				Service:    v1.Service{Name: "default/web", Frontend: v1.Frontend{VIP: vip, Port: 80, Protocol: v1.TCP}},
				Programmed: true, BackendStates: []v1.BackendStatus{{State: v1.BackendActive}},
			}},
			BGP: &v1.BGPStatus{ASN: 64512, Peers: []v1.PeerStatus{{State: "established"}}},
		},
	}
}

// worker is a peer in good order.
func worker() Facts {
	f := well()
	f.Observed = &v1.ObservedState{
		Node: "worker1", Version: "test", Mode: v1.NodePeer, Owners: []v1.OwnerStatus{{Owner: "controller"}},
		BGP: &v1.BGPStatus{
			Peers:  []v1.PeerStatus{{State: "established"}},
			Routes: []v1.Route{{Prefix: netip.PrefixFrom(vip, 32)}},
		},
	}
	f.Interfaces[0].Programs = nil
	return f
}

// silent is a node whose weir does not run.
func silent() Facts {
	f := well()
	f.Observed, f.Silence = nil, "no socket there"
	f.Interfaces[0].Programs = nil
	return f
}

func TestAWellNodeHasNothingToDo(t *testing.T) {
	for name, f := range map[string]Facts{"load balancer": well(), "peer": worker()} {
		t.Run(name, func(t *testing.T) {
			found := Examine(f)
			for _, one := range found {
				if one.Level != OK || one.Do != "" {
					t.Errorf("found %+v", one)
				}
			}
			if got := Worst(found); got != OK {
				t.Errorf("worst is %s", got)
			}
			for _, c := range checks {
				if !slices.ContainsFunc(found, func(f Finding) bool { return f.Check == c.name }) {
					t.Errorf("check %s says nothing", c.name)
				}
			}
		})
	}
}

func TestExamine(t *testing.T) {
	lack := Lack{Of: "kernel", Seen: "kernel 5.15 is too old", Do: "use 6.1 or newer"}
	tests := []struct {
		name  string
		facts Facts
		worse func(*Facts)
		// check, level and a part of what is seen or to be done.
		check string
		level Level
		want  string
	}{
		{"an old kernel", well(), func(f *Facts) { f.Lacking = []Lack{lack} }, "kernel", Fail, "use 6.1"},
		{"an old kernel where nobody knows the role", silent(), func(f *Facts) { f.Lacking = []Lack{lack} }, "kernel", Warn, "a peer does not"},
		{"an old kernel on a peer", worker(), func(f *Facts) { f.Lacking = []Lack{lack} }, "kernel", OK, "nothing special"},
		{"no rights", silent(), func(f *Facts) { f.Lacking = []Lack{{"rights", "CAP_BPF is missing", "add it"}} }, "rights", Warn, "CAP_BPF is missing"},
		{"something unseen", well(), func(f *Facts) { f.Unseen = []string{"name programs: operation not permitted"} }, "rights", Warn, "operation not permitted"},
		{"no forwarding", worker(), func(f *Facts) { f.Forwarding = false }, "forwarding", Fail, "ip_forward=1"},
		{"no clock", well(), func(f *Facts) { f.ClockSynchronised = false }, "clock", Warn, "chronyd"},
		{"weir is down", silent(), func(*Facts) {}, "weir", Fail, "no socket there"},
		{"weir is down and its programs forward on", silent(), func(f *Facts) { f.Interfaces[0].Programs = well().Interfaces[0].Programs }, "interfaces", OK, "forward on without it at eth1"},
		{"a state that is not in force", well(), func(f *Facts) { f.Observed.Owners[0].Error = "no room" }, "weir", Fail, "no room"},
		{"nobody told it anything", well(), func(f *Facts) { f.Observed.Owners = nil }, "weir", Warn, "kube-weir"},
		{"a state that is not saved", well(), func(f *Facts) {
			f.Observed.Conditions = []v1.Condition{{Type: v1.ConditionPersisted, Reason: "NotSaved", Message: "disk full"}}
		}, "weir", Warn, "disk full"},
		{"no ports apart from those of sockets", well(), func(f *Facts) {
			f.Observed.Conditions = []v1.Condition{{Type: v1.ConditionOwnPorts, Reason: "LocalPortRange", Message: "1024-65535 leaves too few"}}
		}, "weir", Warn, "LocalPortRange: 1024-65535 leaves too few"},
		{"no hook anywhere", well(), func(f *Facts) {
			f.Observed.Interfaces[0] = v1.Interface{Name: "eth1", Hook: "none", Reason: "not Ethernet"}
		}, "interfaces", Fail, "eth1 not Ethernet"},
		{"a hook that was taken away", well(), func(f *Facts) { f.Interfaces[0].Programs = nil }, "interfaces", Fail, "not there any more"},
		{"a hook that cannot be seen", well(), func(f *Facts) { f.Interfaces[0].Programs, f.Unseen = nil, []string{"x"} }, "interfaces", OK, "eth1 takes packets at tc"},
		{"a foreign XDP program", well(), func(f *Facts) {
			f.Interfaces[0].Programs = append(f.Interfaces[0].Programs, Program{ID: 9, Name: "cil_xdp", Where: "xdp"})
		}, "programs", Warn, "program 9 (cil_xdp)"},
		{"a foreign program behind weir", well(), func(f *Facts) {
			f.Interfaces[0].Programs = append(f.Interfaces[0].Programs, Program{ID: 9, Name: "tail", Where: "tc ingress"})
		}, "programs", Warn, "program 9 (tail) of somebody else is attached at tc ingress of eth1; see that it lets"},
		{"a foreign program in front of weir", well(), func(f *Facts) {
			f.Interfaces[0].Programs = append([]Program{{ID: 9, Name: "cil_from_netdev", Where: "tc ingress"}}, f.Interfaces[0].Programs...)
		}, "programs", Warn, "program 9 (cil_from_netdev) of somebody else runs before weir at tc ingress of eth1"},
		{"a foreign program in front of weir that only weir can see", well(), func(f *Facts) {
			f.Unseen = []string{"x"}
			f.Observed.Conditions = []v1.Condition{{Type: v1.ConditionPacketsSeen, Reason: "ForeignProgram", Message: "before weir runs program 9"}}
		}, "programs", Warn, "before weir runs program 9"},
		{"a foreign program where weir takes nothing", well(), func(f *Facts) {
			f.Interfaces[1].Programs = []Program{{ID: 9, Name: "cil_from_overlay", Where: "tc ingress"}}
		}, "programs", OK, "no program of others"},
		{"LRO", well(), func(f *Facts) { f.Interfaces[0].Merges["lro"] = true }, "offloads", Fail, "ethtool -K eth1 lro off"},
		{"no GRO", well(), func(f *Facts) { f.Interfaces[0].Merges["gro"] = false }, "offloads", Warn, "ethtool -K eth1 gro on"},
		{"no GRO on veth is usual", well(), func(f *Facts) { f.Interfaces[0].Merges["gro"], f.Interfaces[0].Kind = false, "veth" }, "offloads", OK, ""},
		{"XDP on veth", well(), func(f *Facts) { f.Interfaces[0].Kind, f.Observed.Interfaces[0].Hook = "veth", "xdp" }, "offloads", Warn, "vanish"},
		{"a strict filter", worker(), func(f *Facts) { f.Interfaces[1].Overlay.Strict = true }, "rp-filter", Fail, "flannel.1"},
		{"a strict filter on a device that is down", worker(), func(f *Facts) { f.Interfaces[1].Overlay.Strict, f.Interfaces[1].Up = true, false }, "rp-filter", OK, ""},
		{"an overlay too wide", worker(), func(f *Facts) { f.Interfaces[1].MTU = 1451 }, "mtu", Fail, "1451"},
		{"an overlay over jumbo frames", worker(), func(f *Facts) { f.Interfaces[1].MTU, f.Interfaces[1].Overlay.BelowMTU = 8950, 9000 }, "mtu", OK, "fits"},
		{"an overlay over nobody knows what", worker(), func(f *Facts) { f.Interfaces[1].MTU, f.Interfaces[1].Overlay.BelowMTU = 9000, 0 }, "mtu", OK, ""},
		{"a balanced VIP bound", well(), func(f *Facts) { f.bind("kube-ipvs0") }, "vips", Fail, "bound to kube-ipvs0"},
		{"a learned VIP bound", worker(), func(f *Facts) { f.bind("lo") }, "vips", Fail, "bound to lo"},
		{"a learned VIP bound, whose route weir took away", worker(), func(f *Facts) {
			f.Observed.BGP.Routes, f.Observed.BGP.Bound = nil, []netip.Addr{vip}
			f.bind("lo")
		}, "vips", Fail, "bound to lo"},
		{"a VIP bound while weir is down", silent(), func(f *Facts) { f.Learned = []netip.Addr{vip}; f.bind("lo") }, "vips", Fail, "ip addr del 123.123.123.1/32 dev lo"},
		{"a service not served", well(), func(f *Facts) {
			f.Observed.Services[0].Programmed = false
			f.Observed.Services[0].Conditions = []v1.Condition{{Reason: "NoRoom", Message: "slots are full"}}
		}, "services", Fail, "default/web; the first says NoRoom: slots are full"},
		{"a service without a route of the node's own", well(), func(f *Facts) {
			f.Observed.Services[0].Conditions = []v1.Condition{{Type: v1.ConditionNodeTraffic, Reason: "NoUplink", Message: "no interface with the egress program"}}
		}, "services", Warn, "NodeTraffic/NoUplink of default/web: no interface with the egress program"},
		{"a withdrawn address", well(), func(f *Facts) {
			f.Observed.Services[0].Conditions = []v1.Condition{{Type: v1.ConditionAnnounced, Reason: "NoLiveBackend", Message: "withdrawn"}}
		}, "services", Warn, "Announced/NoLiveBackend of default/web: withdrawn"},
		{"a condition that holds", well(), func(f *Facts) {
			f.Observed.Services[0].Conditions = []v1.Condition{{Type: v1.ConditionHealthy, Status: true}}
		}, "services", OK, "1 services are served"},
		{"a backend without a way", well(), func(f *Facts) { f.Observed.Services[0].BackendStates[0].State = v1.BackendUnreachable }, "backends", Fail, "ip neigh"},
		{"a backend that fails its probe", well(), func(f *Facts) { f.Observed.Services[0].BackendStates[0].State = v1.BackendInactive }, "backends", Warn, "weirctl get ep"},
		{"a backend on the node without the flag", well(), func(f *Facts) { f.Observed.Services[0].BackendStates[0].State = v1.BackendUnserved }, "backends", Warn, "--egr-hooks"},
		{"a session down", worker(), func(f *Facts) { f.Observed.BGP.Peers[0].State = "active" }, "bgp", Fail, "is active"},
		{"a session down on another port", worker(), func(f *Facts) {
			f.Observed.BGP.ListenPort = 1179
			f.Observed.BGP.Peers[0] = v1.PeerStatus{Peer: v1.Peer{Port: 1179}, State: "active"}
		}, "bgp", Fail, "port 1179 is open both ways"},
		{"a session down with a peer on another port", worker(), func(f *Facts) {
			f.Observed.BGP.ListenPort = 1179
			f.Observed.BGP.Peers[0].State = "active"
		}, "bgp", Fail, "port 1179 here and port 179 there"},
		{"a peer that knows no one", worker(), func(f *Facts) { f.Observed.BGP = nil }, "bgp", Warn, "--setBGP"},
		{"BGP without peers", well(), func(f *Facts) { f.Observed.BGP.Peers = nil }, "bgp", Warn, "without any peer"},
		{"a route that could not be installed", worker(), func(f *Facts) {
			f.Observed.BGP.Conditions = []v1.Condition{{Reason: "ForeignRoute", Message: "another program's"}}
		}, "bgp", Warn, "ForeignRoute"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.facts
			tt.worse(&f)
			var of []Finding
			for _, one := range Examine(f) {
				if one.Check == tt.check {
					of = append(of, one)
				}
			}
			if got := Worst(of); got != tt.level {
				t.Errorf("check %s is %s, want %s: %+v", tt.check, got, tt.level, of)
			}
			if !slices.ContainsFunc(of, func(f Finding) bool {
				return f.Level == tt.level && strings.Contains(f.Seen+"; "+f.Do, tt.want) && (f.Do == "") == (f.Level == OK)
			}) {
				t.Errorf("found %+v, want one that says %q, and what to do unless all is well", of, tt.want)
			}
		})
	}
}

// bind gives the VIP to an interface.
func (f *Facts) bind(name string) {
	f.Local = append(f.Local, Local{netip.PrefixFrom(vip, 32), name})
}

// A node without weir and without a network: nothing may be taken for granted.
func TestExamineNothing(t *testing.T) {
	if got := len(Examine(Facts{})); got < len(checks) {
		t.Errorf("%d findings of %d checks", got, len(checks))
	}
}

// Two looks at one node say the same in the same order.
func TestExamineInAStableOrder(t *testing.T) {
	f := well()
	for _, name := range []string{"eth2", "eth3", "eth4", "eth5", "eth6"} {
		i := f.Observed.Interfaces[0]
		i.Name = name
		f.Observed.Interfaces = append(f.Observed.Interfaces, i)
	}
	first := Examine(f)
	for range 20 {
		if got := Examine(f); !slices.Equal(got, first) {
			t.Fatalf("found %+v, and before %+v", got, first)
		}
	}
}
