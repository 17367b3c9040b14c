package dataplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/dataplane/maps/mapstest"
)

var (
	vip     = netip.MustParseAddr("203.0.113.1")
	podA    = netip.MustParseAddr("10.0.1.2")
	podB    = netip.MustParseAddr("10.0.2.2")
	nodeA   = netip.MustParseAddr("10.0.1.1")
	clientA = netip.MustParseAddr("192.0.2.2")
)

// network is client, node (the process) and two hosts of pods in a row:
//
//	client 192.0.2.2 -- eth1 node eth2 -- a 10.0.1.2
//	                         node eth3 -- b 10.0.2.2
type network struct{ client, a, b *nstest.Namespace }

func mustNetwork(t *testing.T) network {
	t.Helper()
	nstest.MustUp(t, "lo")
	nstest.Sysctl(t, "ip_forward", "1")
	n := network{nstest.New(t), nstest.New(t), nstest.New(t)}
	n.client.Veth(t, "eth1", "up", "192.0.2.1/24", "192.0.2.2/24")
	n.a.Veth(t, "eth2", "up", "10.0.1.1/24", "10.0.1.2/24")
	n.b.Veth(t, "eth3", "up", "10.0.2.1/24", "10.0.2.2/24")
	for host, gateway := range map[*nstest.Namespace]string{n.client: "192.0.2.1", n.a: "10.0.1.1", n.b: "10.0.2.1"} {
		host.Do(t, func() { nstest.MustRoute(t, "0.0.0.0/0", gateway) })
	}
	return n
}

// forXDP does what --hook=xdp asks of whoever gives it on veth: NAPI at the
// peers, by a program that passes, and finished checksums.
func (n network) forXDP(t *testing.T) {
	t.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pass.Close() })
	for _, host := range []*nstest.Namespace{n.client, n.a, n.b} {
		host.Do(t, func() {
			nstest.TxChecksumOff(t, "up")
			l, err := link.AttachXDP(link.XDPOptions{
				Program: pass, Interface: nstest.MustLink(t, "up").Attrs().Index, Flags: link.XDPDriverMode,
			})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { l.Close() })
		})
	}
}

// mustRun starts a dataplane that ends with the test. Its flow table is small unless said:
// memory for a million takes longer to get than most tests.
func mustRun(t *testing.T, o Options) *Dataplane {
	t.Helper()
	d, _ := mustStart(t, o)
	return d
}

// mustStart is mustRun with the means to end Run before the test ends, as an agent
// does before it stops.
func mustStart(t *testing.T, o Options) (d *Dataplane, end func()) {
	t.Helper()
	o.MaxFlows = cmp.Or(o.MaxFlows, 8192)
	d, err := New(o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	d.writes = mapstest.Disturb(t, d.maps)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		end()
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d, end
}

func mustApply(t *testing.T, d *Dataplane, services ...v1.Service) {
	t.Helper()
	statuses, err := d.Apply(t.Context(), services, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statuses {
		if !s.Programmed {
			t.Fatalf("%s is not programmed: %+v", s.Frontend, s.Conditions)
		}
	}
}

func serviceOn(port uint16, protocol v1.Protocol, mode v1.Mode, backends ...netip.Addr) v1.Service {
	s := v1.Service{
		Name: fmt.Sprintf("test/%s-%d", protocol, port), Mode: mode,
		Frontend: v1.Frontend{VIP: vip, Port: port, Protocol: protocol},
	}
	for _, b := range backends {
		s.Backends = append(s.Backends, v1.Backend{Address: b, Port: 8080})
	}
	return s
}

// serve answers every connection and datagram at host with who it comes from and
// where it arrived. It ends with the test.
func serve(t *testing.T, host *nstest.Namespace) {
	t.Helper()
	host.Do(t, func() { serveHere(t) })
}

// serveHere is serve in the namespace of the caller.
func serveHere(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp4", ":8080")
	if err != nil {
		t.Error(err)
		return
	}
	p, err := net.ListenPacket("udp4", ":8080")
	if err != nil {
		t.Error(err)
		return
	}
	ended := make(chan struct{}, 2)
	t.Cleanup(func() { l.Close(); p.Close(); <-ended; <-ended })
	go func() {
		defer func() { ended <- struct{}{} }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s at %s", c.RemoteAddr(), c.LocalAddr())
			c.Close()
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		buffer := make([]byte, 2000)
		for {
			n, from, err := p.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(append([]byte(from.String()+" says "), buffer[:n]...), from)
		}
	}()
}

// ask dials the VIP from the client, says hello and returns the answer.
func (n network) ask(t *testing.T, network string, port uint16) (answer string, err error) {
	t.Helper()
	n.client.Do(t, func() { answer, err = askHere(network, port) })
	return answer, err
}

// askHere is ask from the namespace of the caller.
func askHere(network string, port uint16) (string, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.Dial(network, netip.AddrPortFrom(vip, port).String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if network == "udp4" {
		_, _ = c.Write([]byte("hello"))
		buffer := make([]byte, 2000)
		got, err := c.Read(buffer)
		return string(buffer[:got]), err
	}
	all, err := io.ReadAll(c)
	return string(all), err
}

func TestTraffic(t *testing.T) {
	tests := []struct {
		hook string
		mode v1.Mode
		seen netip.Addr // by the pod
	}{
		{"tc", v1.ModeFullNAT, vip},
		{"tc", v1.ModeOneArm, nodeA},
		{"tc", v1.ModeDefault, clientA},
		{"xdp", v1.ModeFullNAT, vip},
		{"xdp", v1.ModeOneArm, nodeA},
	}
	for _, tt := range tests {
		t.Run(tt.hook+" "+string(tt.mode), func(t *testing.T) {
			n := mustNetwork(t)
			if tt.hook == "xdp" {
				n.forXDP(t)
			}
			serve(t, n.a)
			d := mustRun(t, Options{Hook: tt.hook})
			mustApply(t, d, serviceOn(80, v1.TCP, tt.mode, podA), serviceOn(53, v1.UDP, tt.mode, podA))
			for _, protocol := range []struct {
				network string
				port    uint16
			}{{"tcp4", 80}, {"udp4", 53}} {
				answer, err := n.ask(t, protocol.network, protocol.port)
				if err != nil {
					t.Fatalf("%s: %v; %s", protocol.network, err, evidence(d))
				}
				var from netip.AddrPort
				var rest string
				if _, err := fmt.Sscanf(answer, "%s %s", scanAddrPort{&from}, &rest); err != nil || from.Addr() != tt.seen {
					t.Errorf("%s: the pod saw %q, want %s; %s", protocol.network, answer, tt.seen, evidence(d))
				}
			}
			expectStatus(t, d)
			expectHook(t, d, tt.hook)
			if forwarded(t, d, tt.hook) < 4 {
				t.Errorf("%s did not forward; %s", tt.hook, evidence(d))
			}
		})
	}
}

// scanAddrPort lets fmt.Sscanf read an address with its port.
type scanAddrPort struct{ to *netip.AddrPort }

func (s scanAddrPort) Scan(state fmt.ScanState, _ rune) error {
	token, err := state.Token(true, nil)
	if err == nil {
		*s.to, err = netip.ParseAddrPort(string(token))
	}
	return err
}

func expectStatus(t *testing.T, d *Dataplane) {
	t.Helper()
	services, err := d.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		b := s.BackendStates[0]
		if b.State != v1.BackendActive || b.Flows != 2 || b.Packets < 2 || b.Bytes < 60 {
			t.Errorf("%s: backend %+v, want an active one with two flows", s.Frontend, b)
		}
	}
	flows, err := d.Flows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(flows) != 4 {
		t.Errorf("%d flows, want both directions of two connections: %+v", len(flows), flows)
	}
	for i, f := range flows {
		if want := []string{"forward", "reply"}[i%2]; f.Direction != want || f.Service == "" || f.IdleTime > time.Minute {
			t.Errorf("flow %+v, want a %s one", f, want)
		}
	}
	c, err := d.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := c.Forwarded + c.Passed
	for _, drop := range c.Drops {
		out += drop.Count
	}
	if c.Forwarded == 0 || c.In < out {
		t.Errorf("counters %+v", c)
	}
}

func expectHook(t *testing.T, d *Dataplane, hook string) {
	t.Helper()
	for _, i := range d.Interfaces() {
		want := hook
		if i.Name == "lo" {
			want = "none"
		}
		if i.Hook != want {
			t.Errorf("%s has hook %s (%s), want %s", i.Name, i.Hook, i.Reason, want)
		}
	}
}

// forwarded counts the packets that one hook sent on.
func forwarded(t *testing.T, d *Dataplane, name string) uint64 {
	t.Helper()
	hook := bpf.HookTC
	if name == "xdp" {
		hook = bpf.HookXDP
	}
	var perCPU []uint64
	if err := d.loaded.Maps[bpf.MapCounters].Lookup(bpf.CounterForwarded.Index(hook), &perCPU); err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for _, n := range perCPU {
		sum += n
	}
	return sum
}

// evidence says where packets died.
func evidence(d *Dataplane) string {
	c, err := d.Counters(context.Background())
	text := fmt.Sprintf("in %d, forwarded %d, passed %d", c.In, c.Forwarded, c.Passed)
	for _, drop := range c.Drops {
		if drop.Count > 0 {
			text += fmt.Sprintf(", %s %d", drop.Reason, drop.Count)
		}
	}
	return fmt.Sprintf("%s (%v), interfaces %+v", text, err, d.Interfaces())
}

// Without the service the same request fails: the dataplane is what answers.
func TestNothingAnswersWithoutAService(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	d := mustRun(t, Options{Hook: "tc"})
	mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeFullNAT, podA))
	if _, err := n.ask(t, "tcp4", 80); err != nil {
		t.Fatal(err)
	}
	mustApply(t, d)
	var answered atomic.Bool
	n.client.Do(t, func() {
		c, err := (&net.Dialer{Timeout: 300 * time.Millisecond}).Dial("tcp4", netip.AddrPortFrom(vip, 80).String())
		if err == nil {
			answered.Store(true)
			c.Close()
		} else if !errors.As(err, new(net.Error)) {
			t.Errorf("unexpected %v", err)
		}
	})
	if answered.Load() {
		t.Error("the VIP answers although no service is left")
	}
}
