package probe_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/lab"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The services of the founding scenario, by protocol: port on the VIP and on the server.
var services = map[probe.Protocol]struct{ vip, server uint16 }{
	probe.HTTP: {55002, 80}, probe.TCP: {55001, 7000}, probe.UDP: {55003, 33333}, probe.SCTP: {55004, 9999},
}

func target(p probe.Protocol) netip.AddrPort { return netip.AddrPortFrom(lab.VIP, services[p].vip) }

// serve runs a server with every protocol behind the router's DNAT until the test ends.
func serve(t *testing.T, l *lab.Lab) *probe.Server {
	t.Helper()
	for p, ports := range services {
		l.DNAT(t, strings.Replace(string(p), "http", "tcp", 1), ports.vip, ports.server)
	}
	return run(t, probe.ServerOptions{Name: "nginx-test", Addresses: addresses(), Enter: l.Server.Do})
}

func addresses() map[probe.Protocol]string {
	a := map[probe.Protocol]string{}
	for p, ports := range services {
		a[p] = fmt.Sprintf(":%d", ports.server)
	}
	return a
}

func run(t *testing.T, o probe.ServerOptions) *probe.Server {
	t.Helper()
	s, err := probe.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(t *testing.T, l *lab.Lab) *probe.Client {
	t.Helper()
	c := &probe.Client{Enter: l.Client.Do}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestEveryProtocolThroughNAT(t *testing.T) {
	l := lab.New(t, 1500)
	serve(t, l)
	c := client(t, l)
	for _, p := range probe.Protocols() {
		a, err := c.Do(t.Context(), probe.Request{Protocol: p, Target: target(p), Size: 3000})
		if err != nil {
			t.Error(err)
			continue
		}
		if a.Backend != "nginx-test" || a.SeenClient.Addr() != lab.ServerSide || a.Local.Addr() != lab.Client || a.Remote != target(p) {
			t.Errorf("%s: %s", p, a)
		}
	}
}

func TestSourceIsTheRequests(t *testing.T) {
	l := lab.New(t, 1500)
	run(t, probe.ServerOptions{Name: "nginx-test", Addresses: addresses(), Enter: l.Server.Do})
	c := client(t, l)
	if err := link.AddAddress(l.Client, "eth0", netip.MustParsePrefix("10.1.0.77/24")); err != nil {
		t.Fatal(err)
	}
	for _, p := range probe.Protocols() {
		source := netip.MustParseAddrPort("10.1.0.77:40000")
		to := netip.AddrPortFrom(lab.Server, services[p].server)
		a, err := c.Do(t.Context(), probe.Request{Protocol: p, Target: to, Source: source})
		if err != nil || a.SeenClient != source {
			t.Errorf("%s: %+v, %v", p, a, err)
		}
		a, err = c.Do(t.Context(), probe.Request{Protocol: p, Target: to, Source: netip.AddrPortFrom(source.Addr(), 0)})
		if err != nil || a.SeenClient.Addr() != source.Addr() || a.SeenClient.Port() == 0 {
			t.Errorf("%s without a port: %+v, %v", p, a, err)
		}
	}
}

// Many clients share one source port: a prefix made local gives each an address.
func TestClientsOnOneSourcePort(t *testing.T) {
	l := lab.New(t, 1500)
	serve(t, l)
	c := client(t, l)
	err := l.Client.Do(func() error { return exec.Command("ip", "route", "add", "local", "10.9.0.0/16", "dev", "lo").Run() })
	if err != nil {
		t.Fatal(err)
	}
	everybody := link.Route{To: netip.MustParsePrefix("10.9.0.0/16"), Via: lab.Client}
	if err := link.AddRoute(l.Router, everybody); err != nil {
		t.Fatal(err)
	}
	for _, p := range probe.Protocols() {
		parallel := 64
		if p == probe.UDP {
			// The router masquerades them to one address. Two CPUs that choose the
			// same new port at once make netfilter drop one packet, and nobody
			// repeats a datagram.
			parallel = 1
		}
		r := c.Burst(t.Context(), 200, parallel, func(i int) probe.Request {
			source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 40000)
			return probe.Request{Protocol: p, Target: target(p), Source: source}
		})
		if r.Lost() != 0 {
			t.Errorf("%s: %s", p, r)
		}
		seen := map[netip.AddrPort]bool{}
		for _, a := range r.Answers {
			seen[a.SeenClient] = true
		}
		if len(seen) != 200 {
			t.Errorf("%s: the server saw %d clients", p, len(seen))
		}
	}
}

func TestSpreadCountsEveryAnswer(t *testing.T) {
	l := lab.New(t, 1500)
	s := serve(t, l)
	c := client(t, l)
	for _, p := range probe.Protocols() {
		r := c.Spread(t.Context(), probe.Request{Protocol: p, Target: target(p)}, 256, 64)
		if r.Lost() != 0 || r.Backends["nginx-test"] != 256 || r.Share("nginx-test") != 1 || r.Percentile(99) < r.Percentile(50) {
			t.Errorf("%s: %s", p, r)
		}
	}
	if stats := s.SCTPStats(); stats.Received == 0 || stats.BadChecksum+stats.Overflow != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestSessionsLiveOverSeveralRequests(t *testing.T) {
	l := lab.New(t, 1500)
	serve(t, l)
	c := client(t, l)
	for _, p := range []probe.Protocol{probe.TCP, probe.UDP, probe.SCTP} {
		s, err := c.Open(t.Context(), probe.Request{Protocol: p, Target: target(p), Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.Ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			a, err := s.Ask(t.Context())
			if err != nil || a.SeenClient != first.SeenClient || a.Local != first.Local {
				t.Errorf("%s: %s then %s, %v", p, first, a, err)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Open(t.Context(), probe.Request{Protocol: probe.HTTP, Target: target(probe.HTTP)}); err == nil {
		t.Error("HTTP has no sessions, but one opened")
	}
}

// An answer that came late would be in the way of the next one.
func TestAnAnswerToWhatIsSentOnceIsMissingWhenItIsLost(t *testing.T) {
	l := lab.New(t, 1500)
	serve(t, l)
	s, err := client(t, l).Open(t.Context(), probe.Request{Protocol: probe.SCTP, Target: target(probe.SCTP), Size: 1000, SendOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Iptables(t, "-A", "FORWARD", "-p", "sctp", "-s", lab.Server.String(), "-m", "length", "--length", "1000:",
		"-m", "statistic", "--mode", "nth", "--every", "1000000", "--packet", "0", "-j", "DROP")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if a, err := s.Ask(ctx); probe.Reason(err) != "timeout" {
		t.Errorf("%s, %v", a, err)
	}
	if _, err := s.Ask(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTransferArrivesWhole(t *testing.T) {
	l := lab.New(t, 1500)
	serve(t, l)
	c := client(t, l)
	const n = 20<<20 + 1
	up, err := c.Upload(t.Context(), probe.Request{Target: target(probe.TCP)}, n)
	if err != nil {
		t.Fatal(err)
	}
	down, err := c.Download(t.Context(), probe.Request{Target: target(probe.TCP)}, n)
	if err != nil {
		t.Fatal(err)
	}
	if up.SHA256 != down.SHA256 || up.Bytes != n || down.Bytes != n || up.Backend != "nginx-test" {
		t.Errorf("%+v\n%+v", up, down)
	}
}

// A server that answers anything else than it should: the client must not take it for good.
func TestTransferNoticesDamage(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write(append([]byte("liar 127.0.0.1:1\n"), make([]byte, 1064)...))
		_, _ = conn.Read(make([]byte, 64))
	}()
	defer func() { _ = l.Close(); <-done }()
	var c probe.Client
	_, err = c.Download(t.Context(), probe.Request{Target: netip.MustParseAddrPort(l.Addr().String())}, 1000)
	if probe.Reason(err) != "wrong answer" {
		t.Errorf("%v", err)
	}
}

func TestFailuresHaveReasons(t *testing.T) {
	l := lab.New(t, 1500)
	c := client(t, l)
	l.Iptables(t, "-A", "FORWARD", "-p", "tcp", "--dport", "81", "-j", "DROP")
	l.Iptables(t, "-A", "FORWARD", "-p", "sctp", "-j", "DROP")
	for _, tc := range []struct {
		p    probe.Protocol
		to   netip.AddrPort
		want string
	}{
		{probe.HTTP, netip.AddrPortFrom(lab.Server, 80), "refused"},
		{probe.TCP, netip.AddrPortFrom(lab.Server, 7000), "refused"},
		{probe.UDP, netip.AddrPortFrom(lab.Server, 33333), "refused"},
		{probe.TCP, netip.AddrPortFrom(lab.Server, 81), "timeout"},
		{probe.SCTP, netip.AddrPortFrom(lab.Server, 9999), "timeout"},
		{probe.TCP, netip.MustParseAddrPort("203.0.113.1:80"), "unreachable"},
	} {
		// One after the other: on two CPUs at once they race for the tokens by which the kernel limits its errors (ip_error).
		r := c.Spread(t.Context(), probe.Request{Protocol: tc.p, Target: tc.to, Timeout: 300 * time.Millisecond}, 2, 1)
		if r.Lost() != 2 || r.Reasons()[tc.want] != 2 || !strings.Contains(r.String(), "2 lost") {
			t.Errorf("%s %s: want %s: %s", tc.p, tc.to, tc.want, r)
		}
	}
}

// The UDP server has two addresses; its answer must leave from the one that was asked.
func TestUDPAnswersFromTheAddressThatWasAsked(t *testing.T) {
	l := lab.New(t, 1500)
	if err := link.AddAddress(l.Server, "eth0", netip.MustParsePrefix("10.2.0.2/24")); err != nil {
		t.Fatal(err)
	}
	run(t, probe.ServerOptions{Name: "two", Addresses: map[probe.Protocol]string{probe.UDP: ":33333", probe.SCTP: ":9999"}, Enter: l.Server.Do})
	c := client(t, l)
	for _, p := range []probe.Protocol{probe.UDP, probe.SCTP} {
		r := probe.Request{Protocol: p, Target: netip.AddrPortFrom(netip.MustParseAddr("10.2.0.2"), services[p].server)}
		if _, err := c.Do(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
}

func TestListenRefusesBadOptions(t *testing.T) {
	for _, o := range []probe.ServerOptions{
		{Name: "", Addresses: map[probe.Protocol]string{probe.TCP: ":0"}},
		{Name: "two words", Addresses: map[probe.Protocol]string{probe.TCP: ":0"}},
		{Name: "a", Addresses: map[probe.Protocol]string{probe.TCP: "80"}},
		{Name: "a", Addresses: map[probe.Protocol]string{probe.TCP: "[::1]:80"}},
		{Name: "a", Addresses: map[probe.Protocol]string{"quic": ":80"}},
		{Name: "a", Addresses: map[probe.Protocol]string{probe.SCTP: ":0"}},
	} {
		if s, err := probe.Listen(o); err == nil {
			t.Errorf("%+v was accepted", o)
			_ = s.Close()
		}
	}
}
