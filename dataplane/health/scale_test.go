package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/waittest"
)

// gaps is a prober that keeps the longest time between two probes of a target.
type gaps struct {
	Prober

	mu      sync.Mutex
	started map[Target]time.Time
	longest time.Duration
	probes  int
}

// Probe notes the start of one.
func (g *gaps) Probe(ctx context.Context, t Target) (time.Duration, error) {
	now := time.Now()
	g.mu.Lock()
	if before, ok := g.started[t]; ok {
		g.longest = max(g.longest, now.Sub(before))
	}
	g.started[t] = now
	g.probes++
	g.mu.Unlock()
	return g.Prober.Probe(ctx, t)
}

func (g *gaps) seen() (targets, probes int, longest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.started), g.probes, g.longest
}

// watch runs a monitor over all until the test ends.
func watch(t *testing.T, m *Monitor, all []Target) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	m.Watch(all)
}

// mustListenOn opens n ports of every address that the host has, for connections
// and, of them, some for datagrams. What it returns ends the servers of the first.
func mustListenOn(t *testing.T, host *nstest.Namespace, first, n, datagrams int) (kill func()) {
	t.Helper()
	all := make([][]io.Closer, n)
	host.Do(t, func() {
		for i := range all {
			at := fmt.Sprintf(":%d", first+i)
			l, err := net.Listen("tcp4", at)
			if err != nil {
				t.Errorf("listen: %v", err)
				return
			}
			all[i] = append(all[i], l)
			if i >= datagrams {
				continue
			}
			c, err := net.ListenPacket("udp4", at)
			if err != nil {
				t.Errorf("listen: %v", err)
				return
			}
			all[i] = append(all[i], c)
		}
	})
	end := func(some [][]io.Closer) {
		for _, c := range slices.Concat(some...) {
			_ = c.Close() // closed already where the test killed it
		}
	}
	t.Cleanup(func() { end(all) })
	return func() { end(all[:1]) }
}

// mustHave gives the host every address of a prefix.
func mustHave(t *testing.T, host *nstest.Namespace, prefix string) {
	t.Helper()
	nstest.MustRoute(t, prefix, backend)
	mustTreat(t, host, prefix, unix.RTN_LOCAL)
}

// mustTreat has the host take packets to a prefix for its own (RTN_LOCAL), or drop
// them (RTN_BLACKHOLE).
func mustTreat(t *testing.T, host *nstest.Namespace, prefix string, how int) {
	t.Helper()
	_, to, err := net.ParseCIDR(prefix)
	if err != nil {
		t.Fatal(err)
	}
	host.Do(t, func() {
		route := &netlink.Route{Dst: to, Type: how, Table: unix.RT_TABLE_LOCAL}
		if how == unix.RTN_LOCAL {
			route.LinkIndex, route.Scope = nstest.MustLink(t, "lo").Attrs().Index, netlink.SCOPE_HOST
		}
		if err := netlink.RouteAdd(route); err != nil {
			t.Errorf("route %s: %v", prefix, err)
		}
	})
}

// cpu is the time that this process has had: nodes and host, as both are in it.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// undisturbed has this process run before all others until the test ends, where it
// may: what is late then is late by the prober. Beside two dozen busy processes on
// two CPUs probes came 2 s late, as their threads waited for a CPU, and 5 ms so.
func undisturbed(t *testing.T) {
	t.Helper()
	schedule := func(a unix.SchedAttr) {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		a.Size = unix.SizeofSchedAttr
		for _, thread := range threads { // those to come inherit it
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.SchedSetAttr(id, &a, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Logf("this machine may disturb the test: %v", err)
				return
			}
		}
	}
	schedule(unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1})
	t.Cleanup(func() { schedule(unix.SchedAttr{Policy: unix.SCHED_NORMAL}) })
}

// Six thousand endpoints of every protocol, and more, over real sockets: each is asked within
// its period, those whose server dies are down within Detection, and no other ever is. Under
// the race detector they are three thousand, so make test RACE=1 runs it without besides.
func TestThousandsOfSocketsAreProbedOnTime(t *testing.T) {
	const (
		addresses, first = 50, 20000
		// fewer ports of each address are probed by UDP and SCTP than by TCP.
		fewer = 10
		// pinged addresses are more; those from dying on die.
		pinged, dying = 500, 480
	)
	ports := 100
	if racing { // which makes a probe cost six times as much: 6500 would keep slow CPUs busy
		ports = 30
	}
	undisturbed(t)
	host := mustHost(t)
	mustHave(t, host, "10.3.0.0/23")
	kill := mustListenOn(t, host, first, ports, fewer)
	sctp := newPeer(t, host)
	var all []Target
	dead := map[Target]bool{}
	// A ping that is not answered takes its whole time-out: less, so that those are
	// not found last.
	specs := map[v1.ProbeType]v1.ProbeSpec{v1.ProbePing: {TimeoutMilliseconds: 500}}
	add := func(kind v1.ProbeType, address int, port uint16, dies bool) {
		t := Target{
			Type: kind, Spec: specs[kind],
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(address >> 8), byte(address)}), port),
		}
		if all = append(all, t); dies {
			dead[t] = true
		}
	}
	for p := range ports {
		port := uint16(first + p)
		for a := range addresses {
			add(v1.ProbeTCP, a+1, port, p == 0)
			if p < fewer {
				add(v1.ProbeUDP, a+1, port, p == 0)
				add(v1.ProbeSCTP, a+1, port, p == 0)
			}
		}
		sctp.set(func(p *peer) { p.listens[port] = true })
	}
	for a := range pinged {
		add(v1.ProbePing, a+1, 0, a+1 >= dying)
	}
	timing := Timing{Period: 3 * time.Second, Timeout: time.Second, Retries: 2}
	const slack = time.Second // of a busy machine
	g := &gaps{Prober: &Network{}, started: map[Target]time.Time{}}
	m := New(g, timing)
	began, spent := time.Now(), cpu(t)
	watch(t, m, all)
	waittest.Eventually(t, func() string {
		if _, probes, _ := g.seen(); probes < 2*len(all) {
			return fmt.Sprintf("%d probes, want two of each of %d", probes, len(all))
		}
		return ""
	})
	if down := downs(m); down > 0 {
		t.Errorf("%d are down before any died", down)
	}
	_, asked, _ := g.seen()
	spent = cpu(t) - spent
	t.Logf("%d probes took %v of CPU, %v each, both ends together", asked, spent, spent/time.Duration(asked))
	died := time.Now()
	kill()
	sctp.set(func(p *peer) { delete(p.listens, first) })
	mustTreat(t, host, "10.3.1.224/27", unix.RTN_BLACKHOLE) // from the 480th on
	expectDown(t, m, len(dead))
	found := time.Since(died)
	if found > timing.Detection()+slack {
		t.Errorf("the last of them was found after %v, want %v", found, timing.Detection())
	}
	targets, probes, longest := g.seen()
	if targets != len(all) || longest > timing.Period+slack {
		t.Errorf("%d of %d were asked, the longest time between two probes of one was %v; the period is %v", targets, len(all), longest, timing.Period)
	}
	t.Logf("%d probes of %d endpoints in %v, %v between two of one at most; the dead were found after %v",
		probes, len(all), time.Since(began), longest, found)
	for target, s := range m.Report() {
		if s.Down != dead[target] {
			t.Fatalf("%s of %v: down %t, %+v", target.Type, target.Address, s.Down, s.Probe)
		}
	}
}

// A dozen dead UDP endpoints behind one address, whose kernel sends few ICMP
// errors (icmp_ratelimit), here ten times as many as it does by default: so all
// times are a tenth of the product's.
func TestDeadUDPSocketsBehindOneAddress(t *testing.T) {
	const dead, faster = 12, 10
	host := mustHost(t)
	host.Do(t, func() { nstest.Sysctl(t, "icmp_ratelimit", fmt.Sprint(icmpInterval.Milliseconds()/faster)) })
	mustListenUDP(t, host)
	all := []Target{{Type: v1.ProbeUDP, Address: at(backend, open)}}
	for i := range dead {
		all = append(all, Target{Type: v1.ProbeUDP, Address: at(backend, uint16(shut+i))})
	}
	m := New(&Network{}, Timing{Period: DefaultPeriod / faster, Timeout: DefaultTimeout / faster, Retries: DefaultRetries})
	m.icmp = icmpInterval / faster
	began := time.Now()
	watch(t, m, all)
	expectDown(t, m, dead)
	t.Logf("%d dead UDP endpoints are down after %v, %d times that by default", dead, time.Since(began), faster)
	if m.Report()[all[0]].Down {
		t.Error("the one that lives is down")
	}
}
