package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/health"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/waittest"
)

// quick finds a dead endpoint in half a second.
var quick = health.Timing{Period: 200 * time.Millisecond, Timeout: 100 * time.Millisecond, Retries: 2}

func monitored(s v1.Service) v1.Service {
	s.Monitor = true
	return s
}

// server accepts connections, or takes datagrams, at port 8080 of a host and
// answers nothing. It ends with the test or when it is closed.
func server(t *testing.T, host *nstest.Namespace, protocol v1.Protocol) (stop func()) {
	t.Helper()
	var closer interface{ Close() error }
	host.Do(t, func() {
		var err error
		if protocol == v1.TCP {
			closer, err = net.Listen("tcp4", ":8080")
		} else {
			closer, err = net.ListenPacket("udp4", ":8080")
		}
		if err != nil {
			t.Errorf("listen: %v", err)
		}
	})
	stop = func() { _ = closer.Close() }
	t.Cleanup(stop)
	return stop
}

// expectHealthy waits until the condition says whether all backends are healthy.
func expectHealthy(t *testing.T, d *Dataplane, want bool) {
	t.Helper()
	waittest.Eventually(t, func() string {
		statuses, err := d.Services(t.Context())
		if err != nil {
			return err.Error()
		}
		conditions := statuses[0].Conditions
		if got := conditions[len(conditions)-1]; got.Type != v1.ConditionHealthy || got.Status != want {
			return fmt.Sprintf("last condition is %+v, want Healthy %t", got, want)
		}
		return ""
	})
}

// The only server of a service stops: new flows are dropped for want of a
// backend, and go there again when it is back.
func TestADeadBackendGetsNoNewFlows(t *testing.T) {
	for _, protocol := range []v1.Protocol{v1.TCP, v1.UDP} {
		t.Run(string(protocol), func(t *testing.T) {
			n := mustNetwork(t)
			n.a.Do(t, func() { nstest.Sysctl(t, "icmp_ratelimit", "0") }) // probes are quicker than once a second
			stop := server(t, n.a, protocol)
			d := mustRun(t, Options{Hook: "tc", Health: quick})
			mustApply(t, d, monitored(serviceOn(80, protocol, v1.ModeFullNAT, podA)))
			expectProbed(t, d)
			expectBackend(t, d, 0, v1.BackendActive)

			stop()
			expectBackend(t, d, 0, v1.BackendInactive)
			expectHealthy(t, d, false)
			statuses, err := d.Services(t.Context())
			must(t, err)
			if p := statuses[0].BackendStates[0].Probe; p == nil || p.Healthy || !strings.Contains(p.Error, "re") || p.Type != string(protocol) {
				t.Errorf("probe %+v", p)
			}
			before := drops(t, d, "no_backend")
			n.knock(t, protocol)
			waittest.Eventually(t, func() string {
				if drops(t, d, "no_backend") == before {
					return "nothing is dropped for want of a backend"
				}
				return ""
			})

			server(t, n.a, protocol)
			expectBackend(t, d, 0, v1.BackendActive)
			expectHealthy(t, d, true)
		})
	}
}

// expectProbed waits for the first probe and sees that it was good.
func expectProbed(t *testing.T, d *Dataplane) {
	t.Helper()
	waittest.Eventually(t, func() string {
		statuses, err := d.Services(t.Context())
		if err != nil {
			return err.Error()
		}
		for _, b := range statuses[0].BackendStates {
			if b.Probe == nil || !b.Probe.Healthy {
				return fmt.Sprintf("%s has probe %+v", b.Address, b.Probe)
			}
		}
		return ""
	})
}

// knock sends a first packet to the VIP and waits for nothing.
func (n network) knock(t *testing.T, protocol v1.Protocol) {
	t.Helper()
	n.client.Do(t, func() {
		d := net.Dialer{Timeout: 50 * time.Millisecond}
		c, err := d.Dial(string(protocol)+"4", netip.AddrPortFrom(vip, 80).String())
		if err == nil {
			_, _ = c.Write([]byte("hello"))
			c.Close()
		}
	})
}

func drops(t *testing.T, d *Dataplane, reason string) uint64 {
	t.Helper()
	c, err := d.Counters(t.Context())
	must(t, err)
	for _, drop := range c.Drops {
		if drop.Reason == reason {
			return drop.Count
		}
	}
	return 0
}

// A host that is silent loses its new flows to the other one within the bound
// of its timing; flows that are there stay.
func TestASilentBackendIsLeftInTime(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	serve(t, n.b)
	timing := health.Timing{Period: time.Second, Timeout: 300 * time.Millisecond, Retries: 2}
	d := mustRun(t, Options{Hook: "tc", Health: timing})
	mustApply(t, d, monitored(serviceOn(80, v1.TCP, v1.ModeFullNAT, podA, podB)))
	expectProbed(t, d)
	n.where(t, d, 4)
	flows, err := d.Flows(t.Context())
	must(t, err)
	died := time.Now()
	n.b.Do(t, func() { nstest.MustRoute(t, "10.0.2.1/32", "10.0.2.3") }) // its answers end at nobody
	expectBackend(t, d, 1, v1.BackendInactive)
	const slack = 2 * time.Second // of a busy machine
	if took := time.Since(died); took > timing.Detection()+slack {
		t.Errorf("took %v, want %v at most", took, timing.Detection())
	}
	if got := n.where(t, d, 10); got[podA] != 10 {
		t.Errorf("while b is down: %v", got)
	}
	after, err := d.Flows(t.Context())
	must(t, err)
	if len(after) < len(flows) {
		t.Errorf("%d flows are left of %d", len(after), len(flows))
	}
}

// Monitor may be switched while a service runs: without it nothing is probed
// and every backend is active.
func TestMonitorIsSwitchedLive(t *testing.T) {
	mustNetwork(t)
	d := mustRun(t, Options{Hook: "tc", Health: quick})
	plain := serviceOn(80, v1.TCP, v1.ModeFullNAT, podA)
	for range 2 {
		mustApply(t, d, monitored(plain))
		expectBackend(t, d, 0, v1.BackendInactive)
		mustApply(t, d, plain)
		statuses, err := d.Services(t.Context())
		must(t, err)
		if b := statuses[0].BackendStates[0]; b.State != v1.BackendActive || b.Probe != nil {
			t.Errorf("without Monitor: %+v", b)
		}
		if c := statuses[0].Conditions; c[len(c)-1].Type == v1.ConditionHealthy {
			t.Errorf("without Monitor: %+v", c)
		}
		if report := d.health.Report(); len(report) != 0 {
			t.Errorf("still probed: %v", report)
		}
	}
}

// One endpoint of two services is probed once, and counts where Monitor is on.
func TestAnEndpointOfSeveralServicesIsProbedOnce(t *testing.T) {
	mustNetwork(t)
	d := mustRun(t, Options{Hook: "tc", Health: quick})
	mustApply(t, d,
		monitored(serviceOn(80, v1.TCP, v1.ModeFullNAT, podA)),
		monitored(serviceOn(81, v1.TCP, v1.ModeFullNAT, podA)),
		serviceOn(82, v1.TCP, v1.ModeFullNAT, podA))
	expectBackend(t, d, 0, v1.BackendInactive)
	if report := d.health.Report(); len(report) != 1 {
		t.Errorf("probed: %v", report)
	}
	statuses, err := d.Services(t.Context())
	must(t, err)
	for i, want := range []string{v1.BackendInactive, v1.BackendInactive, v1.BackendActive} {
		if got := statuses[i].BackendStates[0]; got.State != want || (got.Probe != nil) != statuses[i].Monitor {
			t.Errorf("%s: %+v, want %s", statuses[i].Frontend, got, want)
		}
	}
}

// In mode onearm a client's flow has this node's address and the client's
// port: a probe must not choose that one, or the client would get its answer.
func TestProbesLeaveThePortsOfFlowsAlone(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc"})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeOneArm, podA))
	n.where(t, d, 1)
	flows, err := d.Flows(t.Context())
	must(t, err)
	used := flows[0].NewSource.Port() // flows[0] is the forward one
	tcp := health.Target{Type: v1.ProbeTCP, Address: netip.AddrPortFrom(podA, 8080)}
	udp := health.Target{Type: v1.ProbeUDP, Address: tcp.Address}
	elsewhere := health.Target{Type: v1.ProbeTCP, Address: netip.AddrPortFrom(podB, 8080)}
	if !d.taken(tcp, used) || d.taken(tcp, used^1) || d.taken(udp, used) || d.taken(elsewhere, used) {
		t.Errorf("port %d of %+v is not the only one taken", used, flows)
	}
}
