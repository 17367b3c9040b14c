package metrics

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "github.com/weir-lb/weir/api/v1"
)

// node is what a scrape sees.
type node struct {
	observed   v1.ObservedState
	counters   v1.Counters
	unreadable error
	reads      int
}

func (n *node) Observed(context.Context) v1.ObservedState {
	n.reads++
	return n.observed
}

func (n *node) Counters(context.Context) (v1.Counters, error) { return n.counters, n.unreadable }

func (n *node) Version() v1.Version {
	return v1.Version{Node: "master1", Version: "v1", Mode: v1.NodeLB, Go: "go1"}
}

var vip = netip.MustParseAddr("123.123.123.1")

// whole is a node with something of everything.
func whole() *node {
	at := func(port uint16) v1.Service {
		return v1.Service{Name: "default/a", Frontend: v1.Frontend{VIP: vip, Port: port, Protocol: v1.TCP}}
	}
	refused := []v1.Condition{{Type: v1.ConditionAccepted, Reason: "ClaimedByOther"}}
	pending := []v1.Condition{{Type: v1.ConditionProgrammed, Reason: "Pending"}}
	return &node{
		observed: v1.ObservedState{
			Owners: []v1.OwnerStatus{
				{Owner: "controller", Desired: v1.Generation{Epoch: 2, Sequence: 9}, Applied: v1.Generation{Epoch: 2, Sequence: 7}},
				{Owner: "file", Desired: v1.Generation{Epoch: 1}, Applied: v1.Generation{Epoch: 1}},
				{Owner: "netlox", Desired: v1.Generation{Epoch: 1}},
			},
			Services: []v1.ServiceStatus{
				{Service: at(55002), Programmed: true, BackendStates: []v1.BackendStatus{
					{State: v1.BackendActive, Flows: 3}, {State: v1.BackendActive, Flows: 4}, {State: v1.BackendUnreachable},
				}},
				// One frontend, wanted by two more who do not get it.
				{Service: at(55002), Conditions: refused},
				{Service: at(55002), Conditions: refused},
				{Service: at(55003), Conditions: pending},
			},
			Interfaces: []v1.Interface{{Name: "eth0", Hook: "tc"}, {Name: "eth0", Hook: "xdp"}, {Name: "cni0", Hook: "none"}},
			BGP: &v1.BGPStatus{
				Peers: []v1.PeerStatus{
					{Peer: v1.Peer{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101, Role: v1.PeerExternal}, State: "established"},
					{Peer: v1.Peer{Address: netip.MustParseAddr("192.168.80.11"), ASN: 64512, Role: v1.PeerLB}, State: "active"},
				},
				Routes: make([]v1.Route, 2), Advertisements: make([]v1.Advertisement, 1),
			},
			FlowTable: &v1.FlowTable{Entries: 9, Capacity: 4096},
			Conditions: []v1.Condition{
				{Type: v1.ConditionPersisted, Reason: "NotSaved"}, {Type: v1.ConditionAccepted, Status: true, Reason: "Good"},
			},
		},
		counters: v1.Counters{In: 20, Forwarded: 10, Passed: 5, Answered: 3, Drops: []v1.Drop{{Reason: "no_flow", Count: 4}, {Reason: "ttl", Count: 1}}},
	}
}

const wholeText = `
# HELP weir_answered_packets_total Dropped packets that were answered by RST, ABORT or an ICMP error.
# TYPE weir_answered_packets_total counter
weir_answered_packets_total 3
# HELP weir_bgp_advertisements Prefixes that this node originates.
# TYPE weir_bgp_advertisements gauge
weir_bgp_advertisements 1
# HELP weir_bgp_installed_routes Learned routes that stand in the kernel.
# TYPE weir_bgp_installed_routes gauge
weir_bgp_installed_routes 2
# HELP weir_bgp_peer_up 1 while the BGP session is established.
# TYPE weir_bgp_peer_up gauge
weir_bgp_peer_up{asn="64512",peer="192.168.80.11",role="lb"} 0
weir_bgp_peer_up{asn="65101",peer="192.168.80.1",role="external"} 1
# HELP weir_build_info Always 1; the labels say which program this is.
# TYPE weir_build_info gauge
weir_build_info{go_version="go1",mode="lb",version="v1"} 1
# HELP weir_dropped_packets_total Packets that were dropped, by reason.
# TYPE weir_dropped_packets_total counter
weir_dropped_packets_total{reason="no_flow"} 4
weir_dropped_packets_total{reason="ttl"} 1
# HELP weir_flow_table_capacity Entries that the table of established flows has room for.
# TYPE weir_flow_table_capacity gauge
weir_flow_table_capacity 4096
# HELP weir_flow_table_entries Entries of established flows, two a connection, at the last sweep.
# TYPE weir_flow_table_entries gauge
weir_flow_table_entries 9
# HELP weir_flows Flow entries that name a backend of the service, two a connection.
# TYPE weir_flows gauge
weir_flows{frontend="123.123.123.1:55002/tcp",service="default/a"} 7
weir_flows{frontend="123.123.123.1:55003/tcp",service="default/a"} 0
# HELP weir_interface_hook Always 1; the label says where packets of the interface are taken: xdp, tc, or none.
# TYPE weir_interface_hook gauge
weir_interface_hook{hook="none",interface="cni0"} 1
weir_interface_hook{hook="tc",interface="eth0"} 1
# HELP weir_owner_generation_lag Generations of the owner's state that were accepted and are not in force, 0 when it is in sync.
# TYPE weir_owner_generation_lag gauge
weir_owner_generation_lag{owner="controller"} 2
weir_owner_generation_lag{owner="file"} 0
weir_owner_generation_lag{owner="netlox"} 1
# HELP weir_packets_total Packets that the programs saw, by what became of them.
# TYPE weir_packets_total counter
weir_packets_total{action="dropped"} 5
weir_packets_total{action="forwarded"} 10
weir_packets_total{action="passed"} 5
# HELP weir_problems Conditions of the node as a whole that are not as they should be.
# TYPE weir_problems gauge
weir_problems{reason="NotSaved",type="Persisted"} 1
# HELP weir_service_backends Backends of the service: active, inactive (a probe failed), unreachable, or unserved (on this node, without --egr-hooks).
# TYPE weir_service_backends gauge
weir_service_backends{frontend="123.123.123.1:55002/tcp",service="default/a",state="active"} 2
weir_service_backends{frontend="123.123.123.1:55002/tcp",service="default/a",state="inactive"} 0
weir_service_backends{frontend="123.123.123.1:55002/tcp",service="default/a",state="unreachable"} 1
weir_service_backends{frontend="123.123.123.1:55002/tcp",service="default/a",state="unserved"} 0
weir_service_backends{frontend="123.123.123.1:55003/tcp",service="default/a",state="active"} 0
weir_service_backends{frontend="123.123.123.1:55003/tcp",service="default/a",state="inactive"} 0
weir_service_backends{frontend="123.123.123.1:55003/tcp",service="default/a",state="unreachable"} 0
weir_service_backends{frontend="123.123.123.1:55003/tcp",service="default/a",state="unserved"} 0
# HELP weir_services Services that owners want: programmed, pending, or refused.
# TYPE weir_services gauge
weir_services{state="pending"} 1
weir_services{state="programmed"} 1
weir_services{state="refused"} 2
`

func TestEveryMetricOfAWholeNode(t *testing.T) {
	n := whole()
	if err := testutil.CollectAndCompare(&collector{node: n}, strings.NewReader(wholeText)); err != nil {
		t.Error(err)
	}
	if n.reads != 1 {
		t.Errorf("one scrape read the node %d times", n.reads)
	}
}

func TestPromlintIsContent(t *testing.T) {
	wrong, err := testutil.GatherAndLint(Registry(whole()))
	if err != nil || len(wrong) > 0 {
		t.Errorf("promlint says %+v, %v", wrong, err)
	}
}

func TestWhatCannotBeReadIsAProblem(t *testing.T) {
	n := whole()
	n.observed = v1.ObservedState{}
	n.unreadable = errors.New("read map: gone")
	w := httptest.NewRecorder()
	Handler(Registry(n)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	got := w.Body.String()
	if w.Code != 200 || !strings.Contains(got, `weir_problems{reason="Unreadable",type="Reachable"} 1`) ||
		strings.Contains(got, "weir_packets_total") || !strings.Contains(got, "process_open_fds") || !strings.Contains(got, "go_goroutines") {
		t.Errorf("%d:\n%s", w.Code, got)
	}
}

// TestNoClientMakesASeries holds every label to a name that is known.
func TestNoClientMakesASeries(t *testing.T) {
	families, err := Registry(whole()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := "version go_version mode action reason state service frontend peer asn role owner interface hook type"
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "weir_") {
			continue
		}
		for _, l := range f.GetMetric()[0].GetLabel() {
			if !strings.Contains(" "+known+" ", " "+l.GetName()+" ") {
				t.Errorf("%s has label %s", f.GetName(), l.GetName())
			}
		}
	}
}
