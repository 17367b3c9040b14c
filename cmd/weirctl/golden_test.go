package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/leaktest"
)

var update = flag.Bool("update", false, "rewrite testdata from what is printed")

func TestMain(m *testing.M) { leaktest.Main(m) }

// daemon answers each path with a value, on a unix socket whose path it
// returns.
func daemon(t *testing.T, answers map[string]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := transport.ListenUnix(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			v = v1.Error{Message: "nothing at " + r.URL.Path}
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return path
}

// weirctl runs a command with an environment.
func weirctl(env map[string]string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, func(k string) string { return env[k] }, &out, &errs)
	return code, out.String(), errs.String()
}

// article is the node of the article, with a service that it refused.
func article() map[string]any {
	vip := netip.MustParseAddr("123.123.123.1")
	service := func(name string, port uint16, p v1.Protocol, nodePort uint16, monitor bool) v1.ServiceStatus {
		b := v1.Backend{Address: netip.MustParseAddr("192.168.80.101"), Port: nodePort}
		return v1.ServiceStatus{
			Service: v1.Service{
				Name: "default/" + name, Frontend: v1.Frontend{VIP: vip, Port: port, Protocol: p},
				Mode: v1.ModeFullNAT, Monitor: monitor, Backends: []v1.Backend{b},
			},
			Owner: "controller", Programmed: true,
			BackendStates: []v1.BackendStatus{{Backend: b, State: v1.BackendActive, Flows: 2, Packets: 10, Bytes: 1234}},
		}
	}
	services := []v1.ServiceStatus{
		service("nginx-lb1", 55002, v1.TCP, 32694, false),
		service("udp-lb1", 55003, v1.UDP, 30165, true),
		service("sctp-lb1", 55004, v1.SCTP, 31402, true),
	}
	services[0].IdleTimeout = 1800
	refused := service("bad", 55005, v1.TCP, 1, false)
	refused.Programmed, refused.BackendStates = false, nil
	refused.Conditions = []v1.Condition{{Type: v1.ConditionAccepted, Reason: "Invalid", Message: `services[3].mode: unknown mode "x"`}}
	var backends []v1.ServiceBackend
	for _, s := range services {
		backends = append(backends, v1.ServiceBackend{Service: s.Name, Frontend: s.Frontend, Monitor: s.Monitor, BackendStatus: s.BackendStates[0]})
	}
	backends[1].State = v1.BackendInactive
	backends[1].Probe = &v1.Probe{Type: "udp", Latency: 1234567, Error: "port unreachable",
		Last: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Since: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}
	return map[string]any{"/v1/services": append(services, refused), "/v1/backends": backends}
}

func traffic() map[string]any {
	ap := netip.MustParseAddrPort
	client, vip, pod := ap("192.168.80.1:40000"), ap("123.123.123.1:55002"), ap("192.168.80.101:32694")
	snat := ap("123.123.123.1:40000")
	return map[string]any{
		"/v1/flows": []v1.Flow{
			{Protocol: v1.TCP, Source: pod, Destination: snat, NewSource: vip, NewDestination: client, Direction: "reply",
				State: "established", Service: "default/nginx-lb1", Packets: 5, Bytes: 1200, IdleTime: 1500 * time.Millisecond},
			{Protocol: v1.UDP, Source: client, Destination: ap("123.123.123.1:55003"), NewSource: snat, NewDestination: ap("192.168.80.101:30165"),
				Direction: "forward", State: "half-open", Packets: 1, Bytes: 60},
			{Protocol: v1.TCP, Source: client, Destination: vip, NewSource: snat, NewDestination: pod, Direction: "forward",
				State: "established", Service: "default/nginx-lb1", Packets: 6, Bytes: 400, IdleTime: 1500 * time.Millisecond},
		},
		"/v1/drops": v1.Counters{In: 100, Forwarded: 90, Passed: 7, Answered: 2, Drops: []v1.Drop{{Reason: "no_flow", Count: 3}, {Reason: "ttl_expired"}},
			FlowTable: &v1.FlowTable{Entries: 800000, Capacity: 1048576}},
	}
}

func speaker() map[string]any {
	addr := netip.MustParseAddr
	peer := func(a string, asn uint32, state string, up time.Duration, received uint64) v1.PeerStatus {
		return v1.PeerStatus{Peer: v1.Peer{Address: addr(a), ASN: asn}, State: state, Uptime: up, Received: received}
	}
	return map[string]any{"/v1/bgp": &v1.BGPStatus{
		ASN: 64512, RouterID: addr("192.168.80.10"), ListenPort: 179,
		Peers: []v1.PeerStatus{
			peer("192.168.80.101", 64512, "established", 3*time.Minute+58*time.Second, 0),
			peer("192.168.80.1", 65101, "established", 34*time.Minute+38*time.Second, 1),
			peer("192.168.80.11", 64512, "established", 34*time.Minute+46*time.Second, 0),
			peer("192.168.80.102", 64512, "established", 4*time.Minute+3*time.Second, 0),
			peer("192.168.80.103", 64512, "opensent", 0, 0),
		},
		Advertisements: []v1.Advertisement{{Prefix: netip.MustParsePrefix("123.123.123.1/32"), LocalPref: 1000}},
		Conditions:     []v1.Condition{{Type: v1.ConditionAccepted, Reason: "ForeignRoute", Message: "10.0.0.0/8 has a route of another program"}},
		Routes:         []v1.Route{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), NextHops: []netip.Addr{addr("192.168.80.1")}}},
	}}
}

func controller() map[string]any {
	addr := netip.MustParseAddr
	return map[string]any{"/v1/controller": v1.ControllerStatus{
		Services: []v1.ControllerService{
			{Namespace: "default", Name: "nginx-lb1", Type: "LoadBalancer", ClusterIP: "10.43.91.80", ExternalIPs: []netip.Addr{addr("123.123.123.1")},
				Pool: "defaultPool", Ports: []string{"55002:32694/TCP"}, Mode: v1.ModeFullNAT, Backends: 1, Active: "master1", Class: "loxilb.io/loxilb",
				Conditions: []v1.Condition{{Type: v1.ConditionProgrammed, Status: true, Reason: "Programmed", Message: "every load balancer node serves it"}}},
			{Namespace: "default", Name: "lost", Type: "LoadBalancer", ClusterIP: "10.43.91.81", ExternalIPs: []netip.Addr{addr("123.123.123.2")},
				Pool: "defaultPool", Ports: []string{"80:30002/TCP"}, Mode: v1.ModeFullNAT, Backends: 1, Active: "master1",
				Conditions: []v1.Condition{{Type: v1.ConditionProgrammed, Reason: "BackendsUnreachable", Message: "master1, master2: no route to 192.0.2.9"}}},
			{Namespace: "default", Name: "new", Type: "LoadBalancer", ClusterIP: "10.43.91.82", ExternalIPs: []netip.Addr{addr("123.123.123.3")},
				Pool: "defaultPool", Ports: []string{"80:30003/TCP"}, Mode: v1.ModeFullNAT, Backends: 1, Active: "master1",
				Conditions: []v1.Condition{{Type: v1.ConditionProgrammed, Unknown: true, Reason: "Pending", Message: "load balancer nodes have not said yet whether they serve it"}}},
			{Namespace: "default", Name: "six", Type: "LoadBalancer", ClusterIP: "fd00:43::80", ReservedIPs: []netip.Addr{addr("2001:db8::1")},
				Pool: "defaultPool", Ports: []string{"80:30004/TCP"}, Mode: v1.ModeFullNAT,
				Conditions: []v1.Condition{{Type: v1.ConditionIPv6Served, Reason: "IPv6NotServed", Message: "2001:db8::1 is reserved for the service and not published, for nodes forward IPv4 alone"}}},
			{Namespace: "default", Name: "late", Type: "LoadBalancer", Ports: []string{"80:30000/TCP", "443:30001/TCP"},
				Conditions: []v1.Condition{{Type: v1.ConditionAllocated, Reason: "PoolExhausted", Message: "no address left in defaultPool; widen it"}}},
		},
		Nodes: []v1.ControllerNode{
			{Name: "master1", Address: addr("192.168.80.10"), Role: v1.NodeLB, Active: true, Desired: v1.Generation{Sequence: 4}, Pushed: v1.Generation{Sequence: 4},
				Services: 3, State: v1.PushInSync, LastPush: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
			{Name: "master2", Address: addr("192.168.80.11"), Role: v1.NodeLB, Drained: true, Desired: v1.Generation{Sequence: 5}, Pushed: v1.Generation{Sequence: 5},
				Services: 3, State: v1.PushInSync, LastPush: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)},
			{Name: "worker1", Address: addr("192.168.80.101"), Role: v1.NodePeer, Desired: v1.Generation{Sequence: 4}, Pushed: v1.Generation{Sequence: 3},
				State: v1.PushRetrying, LastError: "192.168.80.101:11111: no answer in time", Attempts: 3, NextRetry: time.Date(2026, 1, 2, 3, 4, 9, 0, time.UTC)},
		},
		Problems: []v1.Problem{{Object: "manifests/udp.yaml:12", Reason: "BadManifest", Message: "spec.ports[0].port: 0 is no port"}},
	}}
}

func TestGolden(t *testing.T) {
	rows := []struct {
		file    string
		answers map[string]any
		args    string
	}{
		{"lb", article(), "get lb"},
		{"lb-wide", article(), "get lb -o wide"},
		{"lb-json", article(), "get lb -o json"},
		{"lb-none", map[string]any{"/v1/services": []v1.ServiceStatus{}}, "get lb"},
		{"ep", article(), "get ep"},
		{"ep-wide", article(), "get ep -o wide"},
		{"ct", traffic(), "get ct"},
		{"ct-wide", traffic(), "get ct -o wide"},
		{"drops", traffic(), "get drops"},
		{"drops-wide", traffic(), "get drops -o wide"},
		{"neigh", speaker(), "get neigh"},
		{"neigh-wide", speaker(), "get neigh -o wide"},
		{"neigh-none", map[string]any{"/v1/bgp": nil}, "get neigh"},
		{"svc", controller(), "get svc"},
		{"svc-wide", controller(), "get svc -o wide"},
		{"nodes", controller(), "get nodes"},
		{"nodes-wide", controller(), "get nodes -o wide"},
	}
	for _, r := range rows {
		t.Run(r.file, func(t *testing.T) {
			socket := daemon(t, r.answers)
			env := map[string]string{"WEIR_SOCKET": socket, "WEIR_CONTROLLER_SOCKET": socket}
			code, stdout, stderr := weirctl(env, strings.Fields(r.args)...)
			if code != exitOK {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			got := stdout
			if stderr != "" {
				got += "--- standard error\n" + stderr
			}
			golden(t, filepath.Join("testdata", r.file+".txt"), got)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (go test -update rewrites it):\n%s", path, diff)
	}
}
