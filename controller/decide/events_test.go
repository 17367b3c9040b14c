package decide

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/weir-lb/weir/controller"
)

func TestEvents(t *testing.T) {
	cfg := articleConfig(t)
	endpoint := func(ready string) *discoveryv1.EndpointSlice { return slice("a", "=8080", ready+"10.42.2.5@worker1") }
	snapshot := func(s *corev1.Service, e *discoveryv1.EndpointSlice, masters ...string) controller.Snapshot {
		snap := twoByTwo()
		snap.Slices = []*discoveryv1.EndpointSlice{lbSlice(masters...), e}
		if s != nil {
			snap.Services = []*corev1.Service{s}
		}
		return snap
	}
	inZone := func(s controller.Snapshot) controller.Snapshot {
		for _, n := range s.Nodes {
			if n.Name == "worker1" {
				n.Labels = map[string]string{"loxilb.io/zonelabel": "east"}
			}
		}
		return s
	}
	well := lb("a", ports("80:30080/TCP"))
	proxy := note("loxilb.io/useproxyprotov2", "yes")
	ignored := "loxilb.io/useproxyprotov2 (put a proxy that speaks it behind the Service); remove what you do not need"
	var last Decision
	for _, step := range []struct {
		says string
		snap controller.Snapshot
		want []string
	}{
		{"a service and a node appear", snapshot(well, endpoint(""), "192.168.80.10@master1"), []string{
			"Normal service/default/a Assigned: 123.123.123.1 from pool defaultPool",
			"Normal service/default/a EndpointsReady: 1 backend",
			"Normal node/master1 Joined: 192.168.80.10 runs weir as lb",
			"Normal node/master1 Active: 192.168.80.10 is active for at least one address"}},
		{"a node is given a zone, as LoxiLB has them", inZone(snapshot(well, endpoint(""), "192.168.80.10@master1")), []string{
			"Normal node/worker1 LabelIgnored: without effect here: the label loxilb.io/zonelabel (remove it; all load balancer nodes serve all Services)"}},
		{"and is told so once", inZone(snapshot(well, endpoint(""), "192.168.80.10@master1")), nil},
		{"nothing changes", snapshot(well, endpoint(""), "192.168.80.10@master1"), nil},
		{"the endpoint goes", snapshot(well, endpoint("!"), "192.168.80.10@master1"), []string{
			`Warning service/default/a NoReadyEndpoints: port 80/tcp (name ""): no EndpointSlice of the service has a ready endpoint for it; clients are refused until one is ready`}},
		{"the service is broken", snapshot(lb("a", ports("0:30080/TCP")), endpoint("!"), "192.168.80.10@master1"), []string{
			"Warning service/default/a InvalidPort: spec.ports[0].port: 0 is no port; use 1 to 65535",
			"Normal node/master1 Standby: 192.168.80.10 is active for no address"}},
		{"and mended", snapshot(well, endpoint(""), "192.168.80.10@master1"), []string{
			"Normal service/default/a Valid: the service can be served as it is written",
			"Normal service/default/a Assigned: 123.123.123.1 from pool defaultPool",
			"Normal service/default/a EndpointsReady: 1 backend",
			"Normal node/master1 Active: 192.168.80.10 is active for at least one address"}},
		{"an annotation says what weir does not do", snapshot(lb("a", ports("80:30080/TCP"), proxy), endpoint(""), "192.168.80.10@master1"), []string{
			"Normal service/default/a ValidWithIgnored: without effect here: " + ignored}},
		{"and one more is wrong", snapshot(lb("a", ports("80:30080/TCP"), proxy, note("loxilb.io/probetype", "x")), endpoint(""), "192.168.80.10@master1"), []string{
			`Normal service/default/a ProbeDefaults: probes are as weir does them by default, since loxilb.io/probetype: unknown probe "x", use tcp, udp, sctp, http, https or ping; without effect here: ` + ignored}},
		{"the active node leaves", snapshot(well, endpoint(""), "192.168.80.11@master2"), []string{
			"Normal node/master2 Joined: 192.168.80.11 runs weir as lb",
			"Normal node/master2 Active: 192.168.80.11 is active for at least one address",
			"Normal node/master1 Left: 192.168.80.10 no longer runs weir"}},
		{"the service is deleted", snapshot(nil, endpoint(""), "192.168.80.11@master2"), []string{
			"Normal service/default/a Removed: the service is gone; what it held is free",
			"Normal node/master2 Standby: 192.168.80.11 is active for no address"}},
	} {
		d := Decide(step.snap, cfg, last.Memory)
		var got []string
		for _, e := range Events(last, d) {
			got = append(got, fmt.Sprintf("%s %s %s: %s", e.Type, e.Object, e.Reason, e.Message))
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.says, diff)
		}
		last = d
	}
}

// TestMovedAddressIsToldWithItsReason holds that a service which has to leave its
// address without having asked for another says so once, and why.
func TestMovedAddressIsToldWithItsReason(t *testing.T) {
	const first, second = "10.0.0.0/30", "10.0.1.0/30"
	shared := []*corev1.Service{lb("a", ports("80:30080/TCP")), lb("b", ports("81:30081/TCP"))}
	taken := []*corev1.Service{lb("a", ports("80:30080/TCP", "81:30082/TCP")), shared[1]}
	asked := []*corev1.Service{shared[0], lb("b", ports("81:30081/TCP"), wanted("10.0.0.2"))}
	told := func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.0.1"}}
	}
	for _, row := range []struct {
		says          string
		before, after []*corev1.Service
		pool          string
		want          []string
	}{
		{"nothing moves", shared, shared, first, nil},
		{"one wants a port of the address that both share", shared, taken, first, []string{
			"Warning service/default/a AddressMoved: 10.0.0.2 now: address in use: port 81/tcp of 10.0.0.1 belongs to default/b; use another port or address"}},
		{"one asks for another address", shared, asked, first, nil},
		{"the pool is another one", shared[:1], shared[:1], second, []string{
			"Warning service/default/a AddressMoved: 10.0.1.1 now: address outside the pools: 10.0.0.1 is in no pool; use one of defaultPool (10.0.1.1-10.0.1.2), or add a pool with --cidrPools"}},
		{"and the controller has begun anew with it", nil, []*corev1.Service{lb("a", ports("80:30080/TCP"), told)}, second, []string{
			"Warning service/default/a AddressMoved: 10.0.1.1 now: address outside the pools: 10.0.0.1 is in no pool; use one of defaultPool (10.0.1.1-10.0.1.2), or add a pool with --cidrPools"}},
		{"it is deleted", shared, nil, first, nil},
	} {
		last := Decision{}
		if row.before != nil {
			last = Decide(controller.Snapshot{Services: row.before}, controller.Config{Pools: mustPools(t, first)}, controller.Memory{})
		}
		var got []string
		for range 2 { // the second time nothing is new
			d := Decide(controller.Snapshot{Services: row.after}, controller.Config{Pools: mustPools(t, row.pool)}, last.Memory)
			for _, e := range Events(last, d) {
				if e.Reason == ReasonAddressMoved {
					got = append(got, fmt.Sprintf("%s %s %s: %s", e.Type, e.Object, e.Reason, e.Message))
				}
			}
			last = d
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.says, diff)
		}
	}
}
