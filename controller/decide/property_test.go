package decide

import (
	"encoding/json"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// TestOrderDoesNotMatter holds for random clusters, good and bad services
// among them: the order of the objects changes nothing, deciding again with
// the memory of the decision changes nothing, nor does deciding with what the
// Services' status keeps of it, every node accepts its state, and no frontend is given twice.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		snap := drawSnapshot(rt)
		cfg := articleConfig(t)
		cfg.Pools = mustPools(t, "defaultPool=10.0.0.1-10.0.0.2,defaultPool=2001:db8::1-2001:db8::2,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128")
		cfg.SetRoles = rapid.Bool().Draw(rt, "set roles")
		first := Decide(snap, cfg, controller.Memory{})
		shuffled := controller.Snapshot{
			Services: rapid.Permutation(snap.Services).Draw(rt, "services' order"),
			Slices:   rapid.Permutation(snap.Slices).Draw(rt, "slices' order"),
			Nodes:    rapid.Permutation(snap.Nodes).Draw(rt, "nodes' order"),
		}
		if a, b := jsonOf(rt, first), jsonOf(rt, Decide(shuffled, cfg, controller.Memory{})); a != b {
			rt.Fatalf("the order matters:\n%s\n%s", a, b)
		}
		if a, b := jsonOf(rt, first), jsonOf(rt, Decide(shuffled, cfg, first.Memory)); a != b {
			rt.Fatalf("the decision does not rest:\n%s\n%s", a, b)
		}
		if a, b := printHolds(first.Memory), printHolds(Decide(restarted(shuffled, first), cfg, controller.Memory{LBs: first.Memory.LBs}).Memory); a != b {
			rt.Fatalf("a restart moves addresses:\n%s\n%s", a, b)
		}
		for _, n := range first.Nodes {
			checkState(rt, n)
		}
	})
}

// TestEditsDuringARestartMoveNobodyElse has the owner of one service change its
// ports, and what it asks for, while no controller runs: all others keep what
// they held.
func TestEditsDuringARestartMoveNobodyElse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := articleConfig(t)
		cfg.Pools = mustPools(t, "defaultPool=10.0.0.1-10.0.0.2,defaultPool=2001:db8::1-2001:db8::2,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128")
		before := twoByTwo()
		for i := range rapid.IntRange(2, 5).Draw(rt, "services") {
			port := rapid.SampledFrom([]string{"80:30080/TCP", "81:30081/TCP", "82:30082/UDP"}).Draw(rt, "port")
			policy := rapid.SampledFrom([]string{"SingleStack", "PreferDualStack", "RequireDualStack"}).Draw(rt, "policy")
			before.Services = append(before.Services, lb(fmt.Sprintf("s%d", i), ports(port), families(policy)))
		}
		first := Decide(before, cfg, controller.Memory{})
		after := restarted(before, first)
		edited := rapid.SampledFrom(after.Services).Draw(rt, "edited")
		edited.Spec.Ports = rapid.SampledFrom(after.Services).Draw(rt, "whose ports it wants").Spec.Ports
		if wish := rapid.SampledFrom([]string{"", "", "10.0.0.1", "2001:db8::1"}).Draw(rt, "new wish"); wish != "" {
			note("loxilb.io/staticIP", wish)(edited)
		}
		note("loxilb.io/lbmode", rapid.SampledFrom([]string{"onearm", "nonsense"}).Draw(rt, "new mode"))(edited)
		now := Decide(after, cfg, controller.Memory{}).Memory.Addresses
		for key, h := range first.Memory.Addresses {
			got := now[key]
			for _, a := range h.List() {
				if key != edited.Namespace+"/"+edited.Name && got.Of(a.Is6()) != a {
					rt.Fatalf("%s had %s and has %s", key, a, got.Of(a.Is6()))
				}
			}
		}
	})
}

// restarted is a snapshot whose Services have the status that a decision gives them.
func restarted(snap controller.Snapshot, d Decision) controller.Snapshot {
	decided := map[string]v1.ControllerService{}
	for _, s := range d.Services {
		decided[s.Name] = s
	}
	out := snap
	out.Services = nil
	for _, o := range snap.Services {
		o = o.DeepCopy()
		for _, a := range decided[o.Name].ExternalIPs {
			ingressToo(a.String())(o)
			in := &o.Status.LoadBalancer.Ingress[len(o.Status.LoadBalancer.Ingress)-1]
			for _, p := range o.Spec.Ports {
				in.Ports = append(in.Ports, corev1.PortStatus{Port: p.Port, Protocol: p.Protocol})
			}
		}
		for _, c := range decided[o.Name].Conditions {
			told(c.Type, c.Message)(o)
		}
		out.Services = append(out.Services, o)
	}
	return out
}

func drawSnapshot(rt *rapid.T) controller.Snapshot {
	snap := twoByTwo()
	for i := range rapid.IntRange(0, 6).Draw(rt, "services") {
		name := fmt.Sprintf("s%d", i)
		port := rapid.SampledFrom([]string{"80:30080/TCP", "80:30080/UDP", "81:30081/SCTP", "0:30080/TCP", "80:30080/X"}).Draw(rt, "port")
		s := lb(name, ports(port))
		if rapid.Bool().Draw(rt, "cluster") {
			cluster4(&s.Spec)
		}
		list := rapid.SampledFrom([][]corev1.IPFamily{nil, {"IPv4"}, {"IPv6"}, {"IPv4", "IPv6"}, {"IPv6", "IPv4"}}).Draw(rt, "families")
		families(rapid.SampledFrom([]string{"", "SingleStack", "PreferDualStack", "PreferDualStack", "RequireDualStack", "RequireDualStack"}).Draw(rt, "policy"), list...)(s)
		for _, a := range []struct {
			key    string
			values []string
		}{
			{"loxilb.io/lbmode", []string{"", "onearm", "fullnat", "dsr"}},
			{"loxilb.io/staticIP", []string{"", "", "", "10.0.0.2", "10.0.1.1", "192.0.2.1", "2001:db8::2", "10.0.0.1,2001:db8:0:1::1"}},
			{"loxilb.io/poolSelect", []string{"", "", "second", "none"}},
		} {
			if v := rapid.SampledFrom(a.values).Draw(rt, a.key); v != "" {
				note(a.key, v)(s)
			}
		}
		snap.Services = append(snap.Services, s)
		endpoints := rapid.SliceOfN(rapid.SampledFrom([]string{"10.42.1.1@worker1", "10.42.1.2@worker1", "!10.42.2.1@worker2", "10.42.2.2@worker2", "10.42.3.1@nowhere"}), 0, 4).Draw(rt, "endpoints")
		snap.Slices = append(snap.Slices, slice(name, "=8080", endpoints...), sixth(slice(name, "=8080", "2001:db8:42::1@worker1")))
	}
	return snap
}

func checkState(rt *rapid.T, n Node) {
	checkNoIPv6(rt, Decision{Nodes: []Node{n}})
	if err := v1.ValidateState(n.State); err != nil {
		rt.Fatalf("%s would refuse its state: %v", n.Name, err)
	}
	seen := map[v1.Frontend]string{}
	ranked := map[string]bool{}
	for _, r := range n.State.Roles {
		ranked[r.VIP.String()] = true
	}
	for _, s := range n.State.Services {
		if err := v1.ValidateService(s); err != nil {
			rt.Fatalf("%s would refuse %s: %v", n.Name, s.Name, err)
		}
		if other, double := seen[s.Frontend]; double {
			rt.Fatalf("%s and %s both have %s", other, s.Name, s.Frontend)
		}
		seen[s.Frontend] = s.Name
		if !ranked[s.VIP.String()] {
			rt.Fatalf("%s serves %s without a rank for it", n.Name, s.VIP)
		}
	}
}

func jsonOf(rt *rapid.T, d Decision) string {
	text, err := json.Marshal(d)
	if err != nil {
		rt.Fatal(err)
	}
	return string(text)
}
