package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/nexthop"
	"github.com/weir-lb/weir/dataplane/uplink"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestOnNode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		way    nexthop.Way
		served bool
		want   bool
	}{
		{"an address of the node", nexthop.Way{Kind: "device", OnLink: true, Local: true}, false, true},
		{"a pod behind cni0 of flannel", nexthop.Way{Kind: "bridge", OnLink: true}, false, true},
		{"a pod behind a veth of Calico or kindnet", nexthop.Way{Kind: "veth", OnLink: true}, false, true},
		{"a machine behind a veth that is served", nexthop.Way{Kind: "veth", OnLink: true}, true, false},
		{"a machine behind a network card that is left alone", nexthop.Way{Kind: "device", OnLink: true}, false, false},
		{"a pod behind flannel.1", nexthop.Way{Kind: "vxlan"}, false, false},
		{"a pod behind tunl0 of Calico", nexthop.Way{Kind: "ipip", OnLink: true}, false, false},
		{"a machine behind a gateway on a bridge", nexthop.Way{Kind: "bridge"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := onNode(tt.way, tt.served); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func expectCondition(t *testing.T, d *Dataplane, want string) {
	t.Helper()
	waittest.Eventually(t, func() string {
		statuses, err := d.Services(t.Context())
		if err != nil {
			return err.Error()
		}
		got := ""
		for _, c := range statuses[0].Conditions {
			if c.Type == v1.ConditionNodeTraffic {
				got = fmt.Sprintf("%t %s: %s", c.Status, c.Reason, c.Message)
			}
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			return fmt.Sprintf("condition %q, want %q", got, want)
		}
		return ""
	})
}

// Without the flag a backend on the node gets nothing, the other ones do, and
// the service says what to do.
func TestABackendOnThisNodeNeedsEgressHooks(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc"})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, nodeA, podA))
	expectCondition(t, d, "false EgressHooksOff: backends on this node are not used, for their answers would leave untranslated: 10.0.1.1; start weir with --egr-hooks")
	if got := n.where(t, d, 10); got[podA] != 10 {
		t.Errorf("requests went to %v", got)
	}
	expectBackend(t, d, 0, v1.BackendUnserved)
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	expectCondition(t, d, "")
}

// The node asks its own VIP, and a backend on the node is asked, by the client and
// by the node.
func TestEgressHooks(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	serveHere(t)
	d, end := mustStart(t, Options{Hook: "tc", EgressHooks: true})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	expectCondition(t, d, "true EgressHooks")
	expectAnswer(t, d, nil, nodeA, podA)
	expectAnswer(t, d, &n, vip, podA)
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, nodeA))
	expectAnswer(t, d, &n, clientA, nodeA)
	expectAnswer(t, d, nil, vip, nodeA)
	// With the route somebody else's, the condition says so.
	must(t, netlink.RouteReplace(&netlink.Route{
		Dst: &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(32, 32)}, LinkIndex: nstest.MustLink(t, "eth3").Attrs().Index, Scope: netlink.SCOPE_LINK,
	}))
	expectCondition(t, d, "false NoUplink: this node and its pods do not reach the VIP: add route 203.0.113.1")
	end()
	must(t, d.Stop())
	if err := uplink.Clean(); err != nil {
		t.Error(err)
	}
}

// Without pins everything ends with the process, the route to the VIP too: nobody
// would take what it sends to the uplink.
func TestARouteToAVIPEndsWithAnUnpinnedProcess(t *testing.T) {
	mustNetwork(t)
	d, end := mustStart(t, Options{Hook: "tc", EgressHooks: true})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	expectCondition(t, d, "true EgressHooks")
	if routes := routesToVIP(t); len(routes) != 1 {
		t.Fatalf("routes to the VIP: %v, want one", routes)
	}
	end()
	must(t, d.Close())
	if routes := routesToVIP(t); len(routes) > 0 {
		t.Errorf("after Close: %v", routes)
	}
}

func routesToVIP(t *testing.T) []netlink.Route {
	t.Helper()
	dst := &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(32, 32)}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: dst}, netlink.RT_FILTER_DST)
	must(t, err)
	return routes
}

// expectAnswer asks from the client, or from the node, and holds the answer to who
// the server saw, and where.
func expectAnswer(t *testing.T, d *Dataplane, from *network, client, server netip.Addr) {
	t.Helper()
	ask := askHere
	if from != nil {
		ask = func(network string, port uint16) (string, error) { return from.ask(t, network, port) }
	}
	answer, err := ask("tcp4", 80)
	if err != nil {
		t.Fatalf("%v; %s", err, evidence(d))
	}
	saw, at, _ := strings.Cut(answer, " at ")
	if c, err := netip.ParseAddrPort(saw); err != nil || c.Addr() != client || at != server.String()+":8080" {
		t.Errorf("answer %q, want one of %s that saw %s", answer, server, client)
	}
}
