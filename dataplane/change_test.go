package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/flow"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/maps/mapstest"
	"github.com/weir-lb/weir/internal/waittest"
)

// where asks n times over TCP and counts which pod answered.
func (n network) where(t *testing.T, d *Dataplane, times int) map[netip.Addr]int {
	t.Helper()
	answers := map[netip.Addr]int{}
	for range times {
		answer, err := n.ask(t, "tcp4", 80)
		if err != nil {
			t.Fatalf("%v; %s", err, evidence(d))
		}
		_, at, _ := strings.Cut(answer, " at ")
		pod, err := netip.ParseAddrPort(at)
		if err != nil {
			t.Fatalf("answer %q: %v", answer, err)
		}
		answers[pod.Addr()]++
	}
	return answers
}

func TestWeightsAndEndpointsThatComeAndGo(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	serve(t, n.b)
	d := mustRun(t, Options{Hook: "tc"})
	s := serviceOn(80, v1.TCP, v1.ModeFullNAT, podA, podB)
	s.Backends[0].Weight, s.Backends[1].Weight = 3, 1
	mustApply(t, d, s)
	if got := n.where(t, d, 100); got[podA] < 70 || got[podA] > 80 {
		t.Errorf("weights 3:1 give %v of 100", got)
	}
	s.Backends = s.Backends[1:]
	mustApply(t, d, s)
	if got := n.where(t, d, 10); got[podB] != 10 {
		t.Errorf("after a is removed: %v", got)
	}
	s.Backends = append(s.Backends, v1.Backend{Address: podA, Port: 8080})
	mustApply(t, d, s)
	if got := n.where(t, d, 20); got[podA] == 0 || got[podB] == 0 {
		t.Errorf("after a has returned: %v", got)
	}
}

// When a pod's host does not answer to ARP any more the other one gets all
// new connections, and the status says so; when it is back so are they.
func TestAnUnreachableBackendIsAvoided(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	serve(t, n.b)
	d := mustRun(t, Options{Hook: "tc"})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA, podB))
	must(t, netlink.LinkSetDown(nstest.MustLink(t, "eth3")))
	expectBackend(t, d, 1, v1.BackendUnreachable)
	if got := n.where(t, d, 10); got[podA] != 10 {
		t.Errorf("while b is away: %v", got)
	}
	statuses, err := d.Services(t.Context())
	must(t, err)
	if c := statuses[0].Conditions[1]; c.Type != v1.ConditionReachable || c.Status || !strings.Contains(c.Message, podB.String()) {
		t.Errorf("condition %+v does not name %s", c, podB)
	}
	must(t, netlink.LinkSetUp(nstest.MustLink(t, "eth3")))
	expectBackend(t, d, 1, v1.BackendActive)
	// Each CPU walks the slots by itself, so few requests are not even.
	if got := n.where(t, d, 10); got[podB] < 3 || got[podA] < 3 {
		t.Errorf("when b is back: %v", got)
	}
}

func expectBackend(t *testing.T, d *Dataplane, index int, state string) {
	t.Helper()
	waittest.Eventually(t, func() string {
		statuses, err := d.Services(t.Context())
		if err != nil {
			return err.Error()
		}
		if got := statuses[0].BackendStates[index]; got.State != state {
			return fmt.Sprintf("backend %s is %s, want %s", got.Address, got.State, state)
		}
		return ""
	})
}

// The host of the pods gets a new MAC and an interface of the node is made
// anew: flows find their way again.
func TestTrafficFollowsTheNetwork(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc"})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	n.where(t, d, 1)
	must(t, netlink.LinkDel(nstest.MustLink(t, "eth1")))
	n.client.Veth(t, "eth1", "up", "192.0.2.1/24", "192.0.2.2/24")
	n.client.Do(t, func() { nstest.MustRoute(t, "0.0.0.0/0", "192.0.2.1") })
	anew := nstest.MustLink(t, "eth1").Attrs().Index
	waittest.Eventually(t, func() string {
		for _, i := range d.Interfaces() {
			if i.Index == anew && i.Hook == "tc" {
				return ""
			}
		}
		return fmt.Sprintf("eth1 is not taken again: %+v", d.Interfaces())
	})
	n.where(t, d, 1)
	n.a.Do(t, func() {
		up := nstest.MustLink(t, "up")
		if err := netlink.LinkSetHardwareAddr(up, []byte{2, 0, 0, 0, 0, 9}); err != nil {
			t.Error(err)
		}
	})
	eth2 := nstest.MustLink(t, "eth2")
	must(t, netlink.NeighDel(&netlink.Neigh{LinkIndex: eth2.Attrs().Index, IP: podA.AsSlice()}))
	n.where(t, d, 5)
}

// A frontend refused for one reason or another leaves the others alone, and a
// whole new set fits where the old one has filled the map.
func TestCapacityIsPerService(t *testing.T) {
	d := mustRun(t, Options{Hook: "tc"})
	limit := d.maps.Limits().VIPs
	set := func(base byte, n int) []v1.Service {
		var all []v1.Service
		for i := range n {
			all = append(all, v1.Service{
				Frontend: v1.Frontend{VIP: netip.AddrFrom4([4]byte{198, base, byte(i >> 8), byte(i)}), Port: 80, Protocol: v1.TCP},
				Mode:     v1.ModeFullNAT,
			})
		}
		return all
	}
	statuses, err := d.Apply(t.Context(), set(18, limit+1), nil)
	must(t, err)
	var refused []v1.ServiceStatus
	for _, s := range statuses {
		if !s.Programmed {
			refused = append(refused, s)
		}
	}
	if len(refused) != 1 || refused[0].Conditions[0].Reason != "VIPsExhausted" {
		t.Fatalf("%d of %d services refused: %+v", len(refused), limit+1, refused)
	}
	mustApply(t, d, set(19, limit)...)
}

// A service on an address of this node would take all that comes for the node: its
// shell, its kubelet, its peers. Once the address is the node's no more, it is served.
func TestNoServiceTakesTheNodesOwnAddress(t *testing.T) {
	mustNetwork(t)
	own, err := netlink.ParseAddr(vip.String() + "/32")
	must(t, err)
	eth1 := nstest.MustLink(t, "eth1")
	must(t, netlink.AddrAdd(eth1, own))
	d := mustRun(t, Options{Hook: "tc"})
	statuses, err := d.Apply(t.Context(), []v1.Service{serviceOn(80, v1.TCP, v1.ModeFullNAT, podA)}, nil)
	must(t, err)
	if s := statuses[0]; s.Programmed || s.Conditions[0].Reason != "OwnAddress" {
		t.Errorf("the node's own address is taken: %+v", s.Conditions)
	}
	must(t, netlink.AddrDel(eth1, own))
	waittest.Eventually(t, func() string {
		if s, err := d.Services(t.Context()); err != nil || !s[0].Programmed {
			return fmt.Sprintf("the address is free, and the service %+v, %v", s, err)
		}
		return ""
	})
	must(t, netlink.AddrAdd(eth1, own)) // somebody's affair: what stands, stands
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
}

// stuck is a clock that a sweep waits for until the sweep ends.
type stuck chan struct{}

func (s stuck) Now(ctx context.Context) (flow.Instant, error) {
	close(s)
	<-ctx.Done()
	return flow.Instant{}, ctx.Err()
}

// A sweep may take long, and a backend that is lost meanwhile must not wait for it.
func TestALongSweepHoldsUpNothing(t *testing.T) {
	mustNetwork(t)
	d, err := New(Options{Hook: "tc", MaxFlows: 4096})
	must(t, err)
	d.writes = mapstest.Disturb(t, d.maps)
	entered := make(stuck)
	d.flows = flow.New(d.maps, entered, d.maps.FlowCapacity())
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA, podB))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
		must(t, d.Close())
	})
	select {
	case <-entered:
	case <-time.After(2 * sweepRetry):
		t.Fatal("no sweep began")
	}
	must(t, netlink.LinkSetDown(nstest.MustLink(t, "eth2")))
	waittest.Eventually(t, func() string {
		d.mu.Lock()
		defer d.mu.Unlock()
		if s, _ := d.state.Service(serviceOn(80, v1.TCP, "").Frontend); s.Slots.Count != 1 {
			return fmt.Sprintf("%d slots, want that of the backend that is left", s.Slots.Count)
		}
		return ""
	})
}

// An id stays while a flow names it, and is free when the flow has gone.
func TestIDsAreFreedAfterTheirFlows(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc"})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	n.where(t, d, 1)
	mustApply(t, d)
	flows, err := d.Flows(t.Context())
	must(t, err)
	if len(flows) != 2 || flows[0].Service != "203.0.113.1:80/tcp" {
		t.Errorf("flows of the removed service: %+v", flows)
	}
	sweep := func() string {
		if _, err := d.sweep(t.Context()); err != nil {
			return err.Error()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.state.Resting() {
			return "ids still rest"
		}
		return ""
	}
	if sweep() == "" {
		t.Error("ids are free while flows name them")
	}
	d.removeFlows(t)
	waittest.Eventually(t, sweep)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
