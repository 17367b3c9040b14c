package decide

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
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
		checkDrained(rt, snap, first)
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

// TestPoolEditsMoveNobody has the pools grow, shrink, split, renamed, removed and
// brought back, and Services edited, replaced and reordered, between decisions with
// the memory of the last one or with nothing but the Services' status. Who is not
// edited keeps each address as long as a pool that it may have it from has it, and
// gives it up then; no port of an address is held twice.
func TestPoolEditsMoveNobody(t *testing.T) {
	settings := []string{
		"defaultPool=10.0.0.1-10.0.0.2,defaultPool=2001:db8::1-2001:db8::2,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128",
		"second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128,defaultPool=10.0.0.1-10.0.0.2,defaultPool=2001:db8::1-2001:db8::2", // another order
		"defaultPool=10.0.0.1-10.0.0.9,defaultPool=2001:db8::/64,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128",           // grown
		"defaultPool=10.0.0.0/24,defaultPool=2001:db8::/64,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128,third=10.0.2.0/24",
		"defaultPool=10.0.0.2/32,defaultPool=2001:db8::2/128,second=10.0.1.2/32",                                                // shrunk
		"defaultPool=10.0.0.2/32,defaultPool=2001:db8::2/128,rest=10.0.0.1/32,rest=2001:db8::1/128,second=10.0.1.1-10.0.1.2",    // split
		"first=10.0.0.1-10.0.0.2,first=2001:db8::1-2001:db8::2,second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128",             // renamed
		"defaultPool=10.0.1.1-10.0.1.2,defaultPool=2001:db8:0:1::1/128,second=10.0.0.1-10.0.0.2,second=2001:db8::1-2001:db8::2", // names exchanged
		"defaultPool=10.0.0.1-10.0.0.2,second=10.0.1.1-10.0.1.2",                                                                // IPv6 removed
		"defaultPool=2001:db8::1-2001:db8::2,second=2001:db8:0:1::1/128",                                                        // IPv4 removed
		"defaultPool=10.0.0.1-10.0.0.2,defaultPool=2001:db8::1-2001:db8::2",                                                     // second removed
		"second=10.0.1.1-10.0.1.2,second=2001:db8:0:1::1/128",                                                                   // the default removed
	}
	rapid.Check(t, func(rt *rapid.T) {
		cfg := articleConfig(t)
		cfg.UniqueIP = rapid.Bool().Draw(rt, "unique")
		cfg.Pools = mustPools(t, settings[0])
		snap := drawSnapshot(rt)
		d := Decide(snap, cfg, controller.Memory{})
		for range rapid.IntRange(1, 6).Draw(rt, "edits") {
			cfg.Pools = mustPools(t, rapid.SampledFrom(settings).Draw(rt, "pools"))
			snap = restarted(snap, d)
			snap.Services = rapid.Permutation(snap.Services).Draw(rt, "services' order")
			var edited string
			if i := rapid.IntRange(-1, len(snap.Services)-1).Draw(rt, "edited"); i >= 0 {
				o := drawService(rt, snap.Services[i].Name)
				edited = o.Namespace + "/" + o.Name
				if rapid.Bool().Draw(rt, "not replaced") {
					o.Status = snap.Services[i].Status
				} else {
					delete(d.Memory.Addresses, edited)
				}
				snap.Services[i] = o
			}
			last := d.Memory
			if rapid.Bool().Draw(rt, "restart") {
				last = controller.Memory{LBs: d.Memory.LBs}
			}
			now := Decide(snap, cfg, last)
			for _, o := range snap.Services {
				key := o.Namespace + "/" + o.Name
				for _, a := range d.Memory.Addresses[key].List() {
					kept, may := now.Memory.Addresses[key].Of(a.Is6()) == a, mayKeep(cfg.Pools, o, a)
					if key != edited && kept != may {
						rt.Fatalf("%s had %s, may keep it: %t, and has %s", key, a, may, printAddresses(now.Memory.Addresses[key].List()))
					}
				}
			}
			checkHolds(rt, now.Memory, cfg.UniqueIP)
			d = now
		}
	})
}

// mayKeep says that a Service may have an address from the pools: from the one that
// it selects, or from any where it selects none or is refused for something else.
func mayKeep(pools []ipam.Pool, o *corev1.Service, a netip.Addr) bool {
	selected := o.Annotations["loxilb.io/poolSelect"]
	if s := readService(o, controller.Config{}); s.refusal != nil {
		selected = ""
	}
	return slices.ContainsFunc(pools, func(p ipam.Pool) bool { return p.Contains(a) && (selected == "" || selected == p.Name) })
}

// checkHolds holds that no port of an address is held twice, and where addresses
// are not shared no address.
func checkHolds(rt *rapid.T, m controller.Memory, unique bool) {
	type port struct {
		netip.Addr
		ipam.Port
	}
	owners := map[port]string{}
	for key, h := range m.Addresses {
		for _, a := range h.List() {
			taken := map[port]bool{{a, ipam.Port{}}: unique}
			for _, p := range h.Ports {
				taken[port{a, p}] = true
			}
			for p, is := range taken {
				if other := owners[p]; is && other != "" {
					rt.Fatalf("%s and %s both hold %s of %s", key, other, p.Port, a)
				} else if is {
					owners[p] = key
				}
			}
		}
	}
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
		o.Status = corev1.ServiceStatus{}
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
	for _, n := range snap.Nodes {
		n.Spec.Unschedulable = rapid.Bool().Draw(rt, n.Name+" is drained")
	}
	for i := range rapid.IntRange(0, 6).Draw(rt, "services") {
		name := fmt.Sprintf("s%d", i)
		snap.Services = append(snap.Services, drawService(rt, name))
		endpoints := rapid.SliceOfN(rapid.SampledFrom([]string{"10.42.1.1@worker1", "10.42.1.2@worker1", "!10.42.2.1@worker2", "10.42.2.2@worker2", "10.42.3.1@nowhere"}), 0, 4).Draw(rt, "endpoints")
		snap.Slices = append(snap.Slices, slice(name, "=8080", endpoints...), sixth(slice(name, "=8080", "2001:db8:42::1@worker1")))
	}
	return snap
}

func drawService(rt *rapid.T, name string) *corev1.Service {
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
	return s
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

// checkDrained holds that a load balancer node is told that it is drained where it is,
// unless all are, and that one which was told is active for nothing.
func checkDrained(rt *rapid.T, snap controller.Snapshot, d Decision) {
	lbs := d.Nodes[:2] // of twoByTwo
	all := snap.Nodes[0].Spec.Unschedulable && snap.Nodes[1].Spec.Unschedulable
	for i, n := range d.Nodes {
		want := i < len(lbs) && snap.Nodes[i].Spec.Unschedulable && !all
		if n.State.Drained != want || n.State.Drained && n.Active {
			rt.Fatalf("%s is told that it is drained: %t, want %t; active %t", n.Name, n.State.Drained, want, n.Active)
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
