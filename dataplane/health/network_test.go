package health

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/waittest"
)

const (
	backend = "10.0.1.2"
	// silent is an address that packets go to and nothing comes from: its
	// neighbour is the host's, which does not have it.
	silent = "10.0.1.9"
	nobody = "10.0.2.2" // no route leads there
	open   = 8080
	shut   = 8081
)

// mustHost is a host of backends beside the node, which is this process.
func mustHost(t *testing.T) *nstest.Namespace {
	t.Helper()
	nstest.MustUp(t, "lo")
	host := nstest.New(t)
	host.Veth(t, "eth1", "up", "10.0.1.1/24", backend+"/24")
	var mac net.HardwareAddr
	host.Do(t, func() {
		nstest.Sysctl(t, "icmp_ratelimit", "0") // tests ask faster than once a second
		mac = nstest.MustLink(t, "up").Attrs().HardwareAddr
	})
	if err := netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: nstest.MustLink(t, "eth1").Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: net.ParseIP(silent), HardwareAddr: mac,
	}); err != nil {
		t.Fatal(err)
	}
	return host
}

// probeOnce gives a probe half a second.
func probeOnce(t *testing.T, n *Network, p v1.ProbeType, address string, port uint16) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	return n.Probe(ctx, Target{Type: p, Address: at(address, port)})
}

func mustListen(t *testing.T, host *nstest.Namespace) net.Listener {
	t.Helper()
	var l net.Listener
	host.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp4", ":8080"); err != nil {
			t.Errorf("listen: %v", err)
		}
	})
	t.Cleanup(func() { l.Close() })
	return l
}

func mustListenUDP(t *testing.T, host *nstest.Namespace) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	host.Do(t, func() {
		var err error
		if c, err = net.ListenPacket("udp4", ":8080"); err != nil {
			t.Errorf("listen: %v", err)
		}
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestProbes(t *testing.T) {
	host := mustHost(t)
	mustListen(t, host)
	mustListenUDP(t, host)
	newPeer(t, host, open)
	tests := []struct {
		protocol v1.ProbeType
		address  string
		port     uint16
		want     string // the error, empty for healthy
	}{
		{v1.ProbeTCP, backend, open, ""},
		{v1.ProbeTCP, backend, shut, "connect: connection refused"},
		{v1.ProbeTCP, silent, open, "connect: no answer in time"},
		{v1.ProbeTCP, nobody, open, "connect: network is unreachable"},
		{v1.ProbeUDP, backend, open, ""},
		{v1.ProbeUDP, backend, shut, "send: port unreachable"},
		{v1.ProbeUDP, silent, open, ""},
		{v1.ProbeUDP, nobody, open, "send: network unreachable"},
		{v1.ProbeSCTP, backend, open, ""},
		{v1.ProbeSCTP, backend, shut, "send INIT: ABORT, nobody listens"},
		{v1.ProbeSCTP, silent, open, "send INIT: no answer in time"},
		{v1.ProbeSCTP, nobody, open, "send INIT: network unreachable"},
		{v1.ProbePing, backend, 0, ""},
		{v1.ProbePing, silent, 0, "send echo: no answer in time"},
		{v1.ProbePing, nobody, 0, "send echo: network unreachable"},
		{v1.ProbeHTTP, backend, shut, "get /: connection refused"},
		{v1.ProbeHTTPS, silent, open, "get /: no answer in time"},
		{v1.ProbeHTTP, nobody, open, "get /: network is unreachable"},
		{"icmp", backend, open, `probe with "icmp": no such probe: not asked`},
	}
	for _, tt := range tests {
		t.Run(string(tt.protocol)+" "+at(tt.address, tt.port).String(), func(t *testing.T) {
			latency, err := probeOnce(t, new(Network), tt.protocol, tt.address, tt.port)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			silence := tt.protocol == v1.ProbeUDP // nobody reads there
			if (latency > 0) != (err == nil && !silence) {
				t.Errorf("latency %v", latency)
			}
		})
	}
}

// The server accepts the connection that is opened after the probe: the
// probe's own never came that far.
func TestTheApplicationDoesNotSeeTCPProbes(t *testing.T) {
	host := mustHost(t)
	l := mustListen(t, host)
	for range 10 {
		if _, err := probeOnce(t, new(Network), v1.ProbeTCP, backend, open); err != nil {
			t.Fatal(err)
		}
	}
	c, err := net.Dial("tcp4", at(backend, open).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != c.LocalAddr().String() {
		t.Errorf("the server accepted %s, a probe", first.RemoteAddr())
	}
}

func TestAUDPAnswerIsHealthyAtOnce(t *testing.T) {
	host := mustHost(t)
	c := mustListenUDP(t, host)
	got := make(chan string)
	go func() {
		buffer := make([]byte, 100)
		n, from, err := c.ReadFrom(buffer)
		if err == nil {
			_, _ = c.WriteTo([]byte("who are you?"), from)
		}
		got <- string(buffer[:n])
	}()
	latency, err := probeOnce(t, new(Network), v1.ProbeUDP, backend, open)
	if err != nil || latency <= 0 {
		t.Errorf("latency %v, %v", latency, err)
	}
	if said := <-got; said != greeting {
		t.Errorf("the server got %q", said)
	}
}

func TestSCTPProbesEndWithAbort(t *testing.T) {
	p := newPeer(t, mustHost(t), open)
	for range 3 {
		if _, err := probeOnce(t, new(Network), v1.ProbeSCTP, backend, open); err != nil {
			t.Fatal(err)
		}
	}
	p.aborted(t, 3)
	p.set(func(p *peer) { p.damage = true })
	if _, err := probeOnce(t, new(Network), v1.ProbeSCTP, backend, open); err == nil {
		t.Error("an INIT ACK with a wrong checksum is healthy")
	}
}

// Without the peer the host's kernel answers: it knows no SCTP.
func TestSCTPProtocolUnreachable(t *testing.T) {
	mustHost(t)
	_, err := probeOnce(t, new(Network), v1.ProbeSCTP, backend, open)
	if err == nil || err.Error() != "send INIT: protocol unreachable" {
		t.Errorf("got %v", err)
	}
}

// An ICMP error about another packet to the same host is not the probe's.
func TestSCTPIgnoresErrorsOfOthers(t *testing.T) {
	host := mustHost(t)
	p := newPeer(t, host, open)
	s, end, err := dialRaw(t.Context(), unix.IPPROTO_SCTP, at(backend, open).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	p.conn.Close() // from here on the kernel answers
	stranger := association{source: 1, destination: open, tag: 1}
	if err := s.send(stranger.init(1)); err != nil {
		t.Fatal(err)
	}
	_ = s.file.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if err := s.await(&initiation{association: probing}); err == nil || strings.Contains(err.Error(), "protocol") {
		t.Errorf("got %v, want no answer", err)
	}
	_ = s.file.SetDeadline(time.Now().Add(waittest.Deadline))
	ours := association{source: probing.source, destination: open, tag: 1}
	if err := s.send(ours.init(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.await(&initiation{association: ours}); err == nil || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("got %v, want protocol not available", err)
	}
}

func TestProbesAvoidThePortsOfFlows(t *testing.T) {
	host := mustHost(t)
	mustListen(t, host)
	mustListenUDP(t, host)
	newPeer(t, host, open)
	for _, p := range []v1.ProbeType{v1.ProbeTCP, v1.ProbeUDP, v1.ProbeSCTP} {
		var asked atomic.Int32
		n := &Network{Taken: func(got Target, port uint16) bool {
			if got != (Target{Type: p, Address: at(backend, open)}) || port < 1024 {
				t.Errorf("asked for %v, port %d", got, port)
			}
			return asked.Add(1) <= 3
		}}
		if _, err := probeOnce(t, n, p, backend, open); err != nil || asked.Load() != 4 {
			t.Errorf("%s: %v after %d ports", p, err, asked.Load())
		}
		n.Taken = func(Target, uint16) bool { return true }
		if _, err := probeOnce(t, n, p, backend, open); !errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: %v, want inconclusive", p, err)
		}
	}
}

// The whole: servers that stop and start again, seen by a Monitor.
func TestServersThatStopAndStart(t *testing.T) {
	host := mustHost(t)
	tcp, udp, sctp := mustListen(t, host), mustListenUDP(t, host), newPeer(t, host, open)
	m := New(new(Network), Timing{Period: 200 * time.Millisecond, Timeout: 100 * time.Millisecond, Retries: 2})
	m.icmp = time.Millisecond // the host keeps to no limit
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	all := []Target{
		{Type: v1.ProbeTCP, Address: at(backend, open)}, {Type: v1.ProbeUDP, Address: at(backend, open)},
		{Type: v1.ProbeSCTP, Address: at(backend, open)},
	}
	m.Watch(all)
	expectDown(t, m, 0)
	tcp.Close()
	udp.Close()
	sctp.set(func(p *peer) { p.mute = true })
	expectDown(t, m, 3)
	mustListen(t, host)
	mustListenUDP(t, host)
	sctp.set(func(p *peer) { p.mute = false })
	expectDown(t, m, 0)
}

// expectDown waits until every target was asked and n of them are down.
func expectDown(t *testing.T, m *Monitor, n int) {
	t.Helper()
	waittest.Eventually(t, func() string {
		down := 0
		for target, s := range m.Report() {
			if s.Probe == nil {
				return target.Address.String() + " was not asked yet"
			}
			if s.Down {
				down++
			}
		}
		if down != n {
			return "another number of targets is down"
		}
		return ""
	})
}
