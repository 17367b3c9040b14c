package decide_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/decide"
	"github.com/weir-lb/weir/controller/ipam"
	"github.com/weir-lb/weir/controller/static"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestArticle decides on the article's manifests with the article's flags and
// compares the whole state of each of the four nodes.
func TestArticle(t *testing.T) {
	d := decideArticle(t, controller.Memory{})
	if len(d.Nodes) != 4 {
		t.Fatalf("got %d nodes, want the article's 4", len(d.Nodes))
	}
	for _, n := range d.Nodes {
		t.Run(n.Name, func(t *testing.T) {
			if err := v1.ValidateState(n.State); err != nil {
				t.Errorf("a node would refuse this state: %v", err)
			}
			for _, s := range n.State.Services {
				if err := v1.ValidateService(s); err != nil {
					t.Errorf("a node would refuse %s: %v", s.Name, err)
				}
			}
			golden(t, filepath.Join("testdata", "article", n.Name+".json"), n.State)
		})
	}
}

// TestArticleSays holds what the article prints, in its own words, against
// the decision: the golden files could be updated by mistake, this cannot.
func TestArticleSays(t *testing.T) {
	d := decideArticle(t, controller.Memory{})
	states := map[string]v1.NodeState{}
	for _, n := range d.Nodes {
		states[n.Name] = n.State
	}

	// gobgp neigh: Peer and AS.
	for node, want := range map[string][]string{
		"master1": {"192.168.80.1 65101", "192.168.80.11 64512", "192.168.80.101 64512", "192.168.80.102 64512"},
		"master2": {"192.168.80.1 65101", "192.168.80.10 64512", "192.168.80.101 64512", "192.168.80.102 64512"},
		"worker1": {"192.168.80.10 64512", "192.168.80.11 64512", "192.168.80.102 64512"},
		"worker2": {"192.168.80.10 64512", "192.168.80.11 64512", "192.168.80.101 64512"},
	} {
		var got []string
		for _, p := range states[node].BGP.Peers {
			got = append(got, fmt.Sprintf("%s %d", p.Address, p.ASN))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("gobgp neigh on %s (-want +got):\n%s", node, diff)
		}
	}

	// gobgp global and global policy on master2.
	m2 := states["master2"].BGP
	if m2.ASN != 64512 || m2.RouterID.String() != "192.168.80.11" || m2.ListenPort != 0 || !m2.NextHopSelf {
		t.Errorf("master2 speaks as %+v, want AS 64512, router 192.168.80.11, port 179, next-hop-self", m2)
	}
	if states["worker1"].BGP.NextHopSelf {
		t.Error("worker1 rewrites next hops; a peer must leave them alone")
	}

	// loxicmd get lb.
	want := []string{
		"123.123.123.1 55002 tcp 0 rr fullnat 1 false",
		"123.123.123.1 55003 udp 0 rr fullnat 1 true",
		"123.123.123.1 55004 sctp 0 rr fullnat 1 true",
	}
	var got []string
	for _, s := range states["master1"].Services {
		got = append(got, fmt.Sprintf("%s %d %s %d %s %s %d %t", s.VIP, s.Port, s.Protocol, s.Block, s.Algorithm, s.Mode, len(s.Backends), s.Monitor))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("get lb on master1 (-want +got):\n%s", diff)
	}

	// kubectl get svc.
	want = []string{
		"nginx-lb1 LoadBalancer 10.43.91.80 [123.123.123.1] [55002:32694/TCP]",
		"sctp-lb1 LoadBalancer 10.43.149.41 [123.123.123.1] [55004:31402/SCTP]",
		"udp-lb1 LoadBalancer 10.43.149.142 [123.123.123.1] [55003:30165/UDP]",
	}
	got = nil
	for _, s := range d.Services {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", s.Name, s.Type, s.ClusterIP, s.ExternalIPs, s.Ports))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("get svc (-want +got):\n%s", diff)
	}

	// The client's route leads to master1.
	if a := d.Services[0].Active; a != "master1" {
		t.Errorf("%s is active, want master1", a)
	}
}

func decideArticle(t *testing.T, last controller.Memory) decide.Decision {
	t.Helper()
	u, err := static.Load("../../topo/catalog/article")
	if err != nil || len(u.Problems) > 0 {
		t.Fatal(err, u.Problems)
	}
	pools, err := ipam.ParsePools("123.123.123.1/24")
	if err != nil {
		t.Fatal(err)
	}
	return decide.Decide(u.Snapshot, controller.Config{
		Pools: pools, SetRoles: true,
		BGP: &controller.BGP{
			ASN: 64512, ListenPort: 179,
			External: []controller.ExternalPeer{{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101}},
		},
	}, last)
}

func golden(t *testing.T, path string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), -update after looking at it:\n%s", path, diff)
	}
}
