package metrics

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "github.com/weir-lb/weir/api/v1"
)

type source struct{}

func (source) Status() v1.ControllerStatus {
	waiting := []v1.Condition{{Type: v1.ConditionAllocated, Status: true}, {Type: v1.ConditionAccepted}}
	return v1.ControllerStatus{
		Version: "v1",
		Services: []v1.ControllerService{
			{Name: "a"}, {Name: "b", Conditions: waiting[:1]}, {Name: "c", Conditions: waiting},
			{Name: "both", ExternalIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Conditions: []v1.Condition{{Type: v1.ConditionIPv6Served}}},
			{Name: "d", Conditions: []v1.Condition{{Type: v1.ConditionProgrammed, Status: true}}},
			{Name: "e", Conditions: []v1.Condition{{Type: v1.ConditionProgrammed, Unknown: true}}},
			{Name: "f", Conditions: []v1.Condition{{Type: v1.ConditionProgrammed}}},
		},
		Pools: []v1.ControllerPool{
			{Name: "defaultPool", Family: "IPv4", Size: 254, Used: 2},
			{Name: "defaultPool", Family: "IPv6", Size: 3, Used: 3},
		},
		Nodes: []v1.ControllerNode{
			{Name: "master1", Role: v1.NodeLB, State: v1.PushInSync, Desired: v1.Generation{Epoch: 9, Sequence: 4}, LastPush: time.UnixMilli(1500)},
			{Name: "master2", Role: v1.NodeLB, State: v1.PushInSync, Desired: v1.Generation{Epoch: 9, Sequence: 7}, LastPush: time.UnixMilli(2000)},
			{Name: "worker1", Role: v1.NodePeer, State: v1.PushRetrying, Desired: v1.Generation{Epoch: 9, Sequence: 5}},
		},
		Problems: []v1.Problem{{Reason: "ManifestInvalid"}, {Reason: "ManifestInvalid"}},
	}
}

const wholeText = `
# HELP kube_weir_generation Sequence of the newest state that was decided for a node.
# TYPE kube_weir_generation gauge
kube_weir_generation 7
# HELP kube_weir_node_last_push_timestamp_seconds When the node last accepted a state.
# TYPE kube_weir_node_last_push_timestamp_seconds gauge
kube_weir_node_last_push_timestamp_seconds{node="master1"} 1.5
kube_weir_node_last_push_timestamp_seconds{node="master2"} 2
# HELP kube_weir_nodes Nodes that run weir, by role and by how far their state has come.
# TYPE kube_weir_nodes gauge
kube_weir_nodes{role="lb",state="in-sync"} 2
kube_weir_nodes{role="peer",state="retrying"} 1
# HELP kube_weir_pool_addresses Addresses of the pool by family: used by a service, or free.
# TYPE kube_weir_pool_addresses gauge
kube_weir_pool_addresses{family="IPv4",pool="defaultPool",state="free"} 252
kube_weir_pool_addresses{family="IPv4",pool="defaultPool",state="used"} 2
kube_weir_pool_addresses{family="IPv6",pool="defaultPool",state="free"} 0
kube_weir_pool_addresses{family="IPv6",pool="defaultPool",state="used"} 3
# HELP kube_weir_problems What a person has to mend that is of no service and no node.
# TYPE kube_weir_problems gauge
kube_weir_problems{reason="ManifestInvalid"} 2
# HELP kube_weir_push_failures_total Attempts to bring a state to a node that failed.
# TYPE kube_weir_push_failures_total counter
kube_weir_push_failures_total{node="master1"} 0
kube_weir_push_failures_total{node="worker1"} 1
# HELP kube_weir_services Services of the controller's classes: served, or waiting for what a condition names.
# TYPE kube_weir_services gauge
kube_weir_services{state="served"} 5
kube_weir_services{state="waiting"} 2
# HELP kube_weir_services_programmed Services with an address, by whether every load balancer node serves them as far as it says.
# TYPE kube_weir_services_programmed gauge
kube_weir_services_programmed{status="false"} 1
kube_weir_services_programmed{status="true"} 1
kube_weir_services_programmed{status="unknown"} 1
`

func pushes() *Pushes {
	p := NewPushes()
	p.Pushed("master1", 2*time.Millisecond, nil)
	p.Pushed("worker1", 10*time.Second, errors.New("no route"))
	return p
}

func TestEveryMetricOfAController(t *testing.T) {
	r := Registry(source{}, pushes())
	err := testutil.GatherAndCompare(r, strings.NewReader(wholeText),
		"kube_weir_generation", "kube_weir_node_last_push_timestamp_seconds", "kube_weir_nodes", "kube_weir_pool_addresses",
		"kube_weir_problems", "kube_weir_push_failures_total", "kube_weir_services", "kube_weir_services_programmed")
	if err != nil {
		t.Error(err)
	}
	for name, want := range map[string]int{"kube_weir_build_info": 1, "kube_weir_push_duration_seconds": 2, "go_goroutines": 1} {
		if n, err := testutil.GatherAndCount(r, name); err != nil || n != want {
			t.Errorf("%s has %d series, %v, want %d", name, n, err, want)
		}
	}
}

func TestPromlintIsContent(t *testing.T) {
	wrong, err := testutil.GatherAndLint(Registry(source{}, pushes()))
	if err != nil || len(wrong) > 0 {
		t.Errorf("promlint says %+v, %v", wrong, err)
	}
}
