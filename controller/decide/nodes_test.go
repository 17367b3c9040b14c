package decide

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

func TestInstances(t *testing.T) {
	v6 := slice("weir-lb", "api=11111", "2001:db8::1@m6")
	v6.AddressType = discoveryv1.AddressTypeIPv6
	elsewhere := slice("weir-lb", "api=8443", "192.168.80.12@master3")
	elsewhere.Namespace = "weir-system"
	for _, row := range []struct {
		says   string
		slices []*discoveryv1.EndpointSlice
		want   []string
	}{
		{"the article's Services; the API port is not BGP's", []*discoveryv1.EndpointSlice{
			lbSlice("192.168.80.11@master2", "192.168.80.10@master1"), peerSlice("192.168.80.101@worker1")},
			[]string{"lb master1 192.168.80.10:11111", "lb master2 192.168.80.11:11111", "peer worker1 192.168.80.101:11111"}},
		{"weir's names, any namespace, another port", []*discoveryv1.EndpointSlice{elsewhere, slice("weir-peer", "api=8443", "192.168.80.103@worker3")},
			[]string{"lb master3 192.168.80.12:8443", "peer worker3 192.168.80.103:8443"}},
		{"a node that is both is a load balancer", []*discoveryv1.EndpointSlice{peerSlice("192.168.80.10@master1"), lbSlice("192.168.80.10@master1")},
			[]string{"lb master1 192.168.80.10:11111"}},
		{"an endpoint without a node is named by its address", []*discoveryv1.EndpointSlice{lbSlice("192.168.80.10")},
			[]string{"lb 192.168.80.10 192.168.80.10:11111"}},
		{"one that is not ready stays a node of the cluster", []*discoveryv1.EndpointSlice{lbSlice("!192.168.80.10@master1")},
			[]string{"lb master1 192.168.80.10:11111 not ready"}},
		{"of two endpoints of an address the ready one counts", []*discoveryv1.EndpointSlice{lbSlice("!192.168.80.10@master1"), lbSlice("192.168.80.10@master1")},
			[]string{"lb master1 192.168.80.10:11111"}},
		{"IPv6 slices are the same pods again", []*discoveryv1.EndpointSlice{v6, lbSlice("192.168.80.10@master1")},
			[]string{"lb master1 192.168.80.10:11111"}},
		{"other Services run no weir", []*discoveryv1.EndpointSlice{slice("nginx-lb1", "=80", "10.42.2.5@worker1")}, nil},
	} {
		t.Run(row.says, func(t *testing.T) {
			lbs, peers := instances(row.slices, nil)
			var got []string
			for _, n := range append(lbs, peers...) {
				text := fmt.Sprintf("%s %s %s", n.Role, n.Name, netip.AddrPortFrom(n.Address, n.APIPort))
				if !n.Ready {
					text += " not ready"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTenantsNameNoInstances has EndpointSlices of weir's names in namespaces
// where anybody may write them: who were one of weir's nodes would be a BGP peer
// of all others, and be told every Service.
func TestTenantsNameNoInstances(t *testing.T) {
	in := func(namespace string, s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
		s.Namespace = namespace
		return s
	}
	snap := twoByTwo()
	snap.Slices = []*discoveryv1.EndpointSlice{
		in("kube-system", lbSlice("192.168.80.10@master1")), in("weir-system", peerSlice("192.168.80.101@worker1")),
		in("tenant", lbSlice("10.42.2.5@worker1")), in("tenant", peerSlice("10.42.2.6@worker2")), in("tenant", slice("weir-lb", "=11111", "192.168.80.102@worker2")),
		in("tenant", lbSlice("!192.168.80.10@master1")),
	}
	cfg := articleConfig(t)
	cfg.Namespaces = []string{"weir-system", "kube-system"}
	var got []string
	for _, n := range Decide(snap, cfg, controller.Memory{}).Nodes {
		got = append(got, fmt.Sprintf("%s %s %t", n.Role, n.Name, n.Ready))
	}
	if diff := cmp.Diff([]string{"lb master1 true", "peer worker1 true"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOneActiveNode plays the life of two masters with --setRoles.
func TestOneActiveNode(t *testing.T) {
	cfg := articleConfig(t)
	var last controller.Memory
	for _, step := range []struct {
		says    string
		masters []string
		want    map[string]string
	}{
		{"at the start the lowest address is active", []string{"192.168.80.11@master2", "192.168.80.10@master1"},
			map[string]string{"master1": "123.123.123.1:0/2", "master2": "123.123.123.1:1/2"}},
		{"it is not ready: the other one takes over, and it stands last", []string{"!192.168.80.10@master1", "192.168.80.11@master2"},
			map[string]string{"master1": "123.123.123.1:1/2", "master2": "123.123.123.1:0/2"}},
		{"back, it takes nothing from the active one", []string{"192.168.80.10@master1", "192.168.80.11@master2"},
			map[string]string{"master1": "123.123.123.1:1/2", "master2": "123.123.123.1:0/2"}},
		{"a newcomer stands last, whatever its address", []string{"192.168.80.9@master0", "192.168.80.10@master1", "192.168.80.11@master2"},
			map[string]string{"master0": "123.123.123.1:2/3", "master1": "123.123.123.1:1/3", "master2": "123.123.123.1:0/3"}},
		{"the active one is gone: who waited longest follows", []string{"192.168.80.9@master0", "192.168.80.10@master1"},
			map[string]string{"master0": "123.123.123.1:1/2", "master1": "123.123.123.1:0/2"}},
	} {
		snap := controller.Snapshot{
			Services: []*corev1.Service{lb("a", ports("80:30080/TCP"))},
			Slices:   []*discoveryv1.EndpointSlice{lbSlice(step.masters...)},
		}
		d := Decide(snap, cfg, last)
		got := map[string]string{}
		for _, n := range d.Nodes {
			got[n.Name] = printRoles(n.State.Roles)
			if n.Active != strings.Contains(got[n.Name], ":0/") {
				t.Errorf("%s: %s is called active: %t, with %s", step.says, n.Name, n.Active, got[n.Name])
			}
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.says, diff)
		}
		last = d.Memory
	}
}

// TestDrainedNodeStandsBack plays kubectl drain and uncordon of the active master.
func TestDrainedNodeStandsBack(t *testing.T) {
	cfg := articleConfig(t)
	for _, row := range []struct {
		says    string
		drained []string
		lbs     []string
		active  string
		told    []string
	}{
		{"nobody is drained", nil, bothMasters, "master1", nil},
		{"the active one is", []string{"master1"}, bothMasters, "master2", []string{"master1"}},
		{"the other one is", []string{"master2"}, bothMasters, "master1", []string{"master2"}},
		{"both are: somebody has to, and the end of its pod is a restart", []string{"master1", "master2"}, bothMasters, "master1", nil},
		{"it is the only one", []string{"master1"}, bothMasters[:1], "master1", nil},
		{"the other one does not serve", []string{"master1"}, []string{bothMasters[0], "!" + bothMasters[1]}, "master1", nil},
		{"it does not serve itself", []string{"master1"}, []string{"!" + bothMasters[0], bothMasters[1]}, "master2", []string{"master1"}},
		{"a peer is, which nobody sends to", []string{"worker1"}, bothMasters, "master1", nil},
	} {
		snap := controller.Snapshot{
			Services: []*corev1.Service{lb("a", ports("80:30080/TCP"))},
			Slices:   []*discoveryv1.EndpointSlice{lbSlice(row.lbs...), peerSlice("192.168.80.101@worker1")},
		}
		for _, name := range []string{"master1", "master2", "worker1"} {
			n := &corev1.Node{}
			n.Name, n.Spec.Unschedulable = name, slices.Contains(row.drained, name)
			snap.Nodes = append(snap.Nodes, n)
		}
		var told []string
		for _, n := range Decide(snap, cfg, controller.Memory{}).Nodes {
			if n.Active != (n.Name == row.active) {
				t.Errorf("%s: %s active %v, want %s", row.says, n.Name, n.Active, row.active)
			}
			if n.State.Drained {
				told = append(told, n.Name)
			}
		}
		if !slices.Equal(told, row.told) {
			t.Errorf("%s: %v are told that they are drained, want %v", row.says, told, row.told)
		}
	}
}

var bothMasters = []string{"192.168.80.10@master1", "192.168.80.11@master2"}

// TestRanksSpread holds that without --setRoles addresses are spread, that no
// rank is given twice, and that only a lost node's addresses move.
func TestRanksSpread(t *testing.T) {
	var lbs []Instance
	for i := range 4 {
		lbs = append(lbs, Instance{Address: netip.AddrFrom4([4]byte{192, 168, 80, byte(10 + i)}), Ready: true})
	}
	var vips []netip.Addr
	for i := range 200 {
		vips = append(vips, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	before := rank(vips, lbs, nil, false)
	active := map[netip.Addr]int{}
	for _, vip := range vips {
		order := slices.Clone(before[vip])
		active[order[0]]++
		slices.SortFunc(order, netip.Addr.Compare)
		if len(slices.Compact(order)) != len(lbs) {
			t.Fatalf("%s is ranked by %v, want every node once", vip, before[vip])
		}
	}
	for _, n := range lbs {
		if c := active[n.Address]; c < 30 || c > 70 {
			t.Errorf("%s is active for %d of 200 addresses, want about 50", n.Address, c)
		}
	}
	after := rank(vips, lbs[1:], nil, false)
	for _, vip := range vips {
		if was := before[vip][0]; was != lbs[0].Address && after[vip][0] != was {
			t.Errorf("%s moved from %s to %s, though %s is alive", vip, was, after[vip][0], was)
		}
	}
	lbs[2].Ready = false
	for vip, order := range rank(vips, lbs, nil, false) {
		if order[len(order)-1] != lbs[2].Address {
			t.Errorf("%s: the node that is not ready is not last: %v", vip, order)
		}
	}
}

func TestMesh(t *testing.T) {
	lbs := []Instance{{Name: "m1", Address: netip.MustParseAddr("10.0.0.1"), Role: v1.NodeLB}, {Name: "m2", Address: netip.MustParseAddr("10.0.0.2"), Role: v1.NodeLB}}
	workers := func(n int) []Instance {
		var out []Instance
		for i := range n {
			out = append(out, Instance{Address: netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)}), Role: v1.NodePeer})
		}
		return out
	}
	external := controller.ExternalPeer{Address: netip.MustParseAddr("10.0.0.254"), ASN: 65101}
	for _, row := range []struct {
		says  string
		self  Instance
		peers []Instance
		bgp   controller.BGP
		want  []string
	}{
		{"a load balancer peers with routers, load balancers and workers", lbs[0], workers(2), controller.BGP{External: []controller.ExternalPeer{external}},
			[]string{"10.0.0.2 64512 lb", "10.0.0.254 65101 external", "10.0.1.1 64512 worker", "10.0.1.2 64512 worker"}},
		{"a worker peers with no router", workers(2)[1], workers(2), controller.BGP{External: []controller.ExternalPeer{external}},
			[]string{"10.0.0.1 64512 lb", "10.0.0.2 64512 lb", "10.0.1.1 64512 worker"}},
		{"another BGP port counts inside, routers keep theirs", lbs[0], workers(1), controller.BGP{ListenPort: 1791, MultiHop: true, External: []controller.ExternalPeer{external}},
			[]string{"10.0.0.2 64512 lb :1791", "10.0.0.254 65101 external multihop", "10.0.1.1 64512 worker :1791"}},
		{"many workers do not peer with each other", workers(17)[0], workers(17), controller.BGP{},
			[]string{"10.0.0.1 64512 lb", "10.0.0.2 64512 lb"}},
		{"a router that is a node of the cluster is peered with once", lbs[0], workers(1), controller.BGP{External: []controller.ExternalPeer{{Address: lbs[1].Address, ASN: 65101}, {Address: lbs[0].Address, ASN: 65101}}},
			[]string{"10.0.0.2 64512 lb", "10.0.1.1 64512 worker"}},
	} {
		t.Run(row.says, func(t *testing.T) {
			row.bgp.ASN = 64512
			if row.bgp.ListenPort == 0 {
				row.bgp.ListenPort = 179
			}
			b := mesh(row.self, lbs, row.peers, controller.Config{BGP: &row.bgp, Pools: mustPools(t, "10.9.0.0/24")})
			var got []string
			for _, p := range b.Peers {
				text := fmt.Sprintf("%s %d %s", p.Address, p.ASN, p.Role)
				if p.Port != 0 {
					text += fmt.Sprintf(" :%d", p.Port)
				}
				if p.MultiHop {
					text += " multihop"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
			if err := v1.ValidateState(v1.NodeState{BGP: b}); err != nil {
				t.Errorf("a node would refuse this: %v", err)
			}
		})
	}
}

func TestWithoutBGPThereIsNone(t *testing.T) {
	cfg := articleConfig(t)
	cfg.BGP = nil
	snap := twoByTwo()
	snap.Services = []*corev1.Service{lb("a", ports("80:30080/TCP"))}
	for _, n := range Decide(snap, cfg, controller.Memory{}).Nodes {
		if n.State.BGP != nil {
			t.Errorf("%s has BGP %+v", n.Name, n.State.BGP)
		}
		if n.Role == v1.NodeLB && len(n.State.Roles) != 1 {
			t.Errorf("%s has no rank; source ports are divided by it without BGP too", n.Name)
		}
	}
}
