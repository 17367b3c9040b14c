package gobgp

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// remote is the other end of a session, message by message. It restarts
// gracefully and promises to be back within its restart time, unless it is
// forgetful: GoBGP marks the paths of a graceful peer as stale without a lock
// against those who list them, which the race detector must not see.
type remote struct {
	t         *testing.T
	address   *net.TCPAddr
	forgetful bool
	asn       uint32 // zero for externalASN
}

const externalASN = 64999

const remoteRestartTime = 7 // seconds; longer than GoBGP's 5 s in IDLE

func (r remote) listen() *net.TCPListener {
	r.t.Helper()
	l, err := net.ListenTCP("tcp4", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { l.Close() })
	return l
}

// accept takes the next connection, or returns nil after wait.
func (r remote) accept(l *net.TCPListener, wait time.Duration) net.Conn {
	r.t.Helper()
	if err := l.SetDeadline(time.Now().Add(wait)); err != nil {
		r.t.Fatal(err)
	}
	conn, err := l.Accept()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// establish opens the session on conn and keeps reading it.
func (r remote) establish(conn net.Conn) {
	r.t.Helper()
	r.open(conn)
	r.keepalive(conn)
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with conn
}

// open says who we are; keepalive agrees to what the other end is.
func (r remote) open(conn net.Conn) {
	r.t.Helper()
	asn := cmp.Or(r.asn, externalASN)
	capabilities := []packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(asn),
	}
	if !r.forgetful {
		capabilities = append(capabilities, packet.NewCapGracefulRestart(false, false, remoteRestartTime,
			[]*packet.CapGracefulRestartTuple{packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, true)}))
	}
	open, err := packet.NewBGPOpenMessage(uint16(asn), 90, netip.MustParseAddr("198.51.100.99"), []packet.OptionParameterInterface{
		packet.NewOptionParameterCapability(capabilities),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(conn, open)
}

func (r remote) keepalive(conn net.Conn) {
	r.t.Helper()
	r.send(conn, packet.NewBGPKeepAliveMessage())
}

func (r remote) send(conn net.Conn, m *packet.BGPMessage) {
	r.t.Helper()
	data, err := m.Serialize()
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := conn.Write(data); err != nil {
		r.t.Fatal(err)
	}
}

// A peer that stays away for longer than it said, and then comes back, gets
// one session and is dialled no more.
func TestPeerThatComesBackTooLateIsDialledOnce(t *testing.T) {
	s := started(t, Options{})
	r := remote{t: t, address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(freePort(t))}}
	l := r.listen()
	peer := netip.MustParseAddr("127.0.0.2")
	err := s.SetPeers(t.Context(), []bgp.Peer{{
		Address: peer, ASN: 64999, Port: uint16(r.address.Port), Role: v1.PeerExternal, HoldTime: 90,
	}})
	if err != nil {
		t.Fatal(err)
	}
	conn := r.accept(l, 10*time.Second)
	if conn == nil {
		t.Fatal("the peer is not dialled")
	}
	r.establish(conn)
	waitFor(t, s, 5*time.Second, bgp.Established)
	l.Close()
	conn.Close()
	waitFor(t, s, 5*time.Second, "idle")
	// Dialled in vain until its time is over: then it is idle, or a new peer
	// that was never up.
	waitFor(t, s, 10*time.Second, "active")
	wait(t, s, 10*time.Second, "idle or new", func(p bgp.Session) bool { return p.State == "idle" || p.Since.IsZero() })

	l = r.listen()
	if conn = r.accept(l, 10*time.Second); conn == nil {
		t.Fatal("the peer is not dialled when it is back")
	}
	r.establish(conn)
	waitFor(t, s, 5*time.Second, bgp.Established)
	if r.accept(l, 4*time.Second) != nil {
		t.Error("the peer is dialled though the session stands")
	}
}

// waitFor waits until the only session is in state.
func waitFor(t *testing.T, s *Speaker, within time.Duration, state string) {
	t.Helper()
	wait(t, s, within, state, func(p bgp.Session) bool { return p.State == state })
}

func wait(t *testing.T, s *Speaker, within time.Duration, what string, is func(bgp.Session) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(within)
	for {
		st, err := s.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Sessions) == 1 && is(st.Sessions[0]) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("sessions %+v, want one that is %s", st.Sessions, what)
		}
	}
}
