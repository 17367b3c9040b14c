package gobgp

import (
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

// restarted is a speaker that restarts and dials an external peer, the other end
// of conn. It waits in vain for the End-of-RIB of a second peer.
func restarted(t *testing.T) (s *Speaker, r remote, conn net.Conn) {
	t.Helper()
	s = started(t, Options{Restarting: true})
	r = remote{t: t, address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(freePort(t))}}
	l := r.listen()
	ad := v1.Advertisement{Prefix: netip.MustParsePrefix("192.0.2.1/32"), LocalPref: 1000}
	peer := func(address string) bgp.Peer {
		return bgp.Peer{
			Address: netip.MustParseAddr(address), ASN: 64999, Port: uint16(r.address.Port), Role: v1.PeerExternal, HoldTime: 90,
		}
	}
	err := errors.Join(
		s.SetAdvertisements(t.Context(), []v1.Advertisement{ad}),
		s.SetPeers(t.Context(), []bgp.Peer{peer("127.0.0.2"), peer("127.0.0.3")}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if conn = r.accept(l, 10*time.Second); conn == nil {
		t.Fatal("the peer is not dialled")
	}
	return s, r, conn
}

// route reads messages until one has a route, which must come within so long.
func (r remote) route(conn net.Conn, within time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	for {
		head := make([]byte, packet.BGP_HEADER_LENGTH)
		if _, err := io.ReadFull(conn, head); err != nil {
			return err
		}
		h := &packet.BGPHeader{}
		if err := h.DecodeFromBytes(head); err != nil {
			return err
		}
		body := make([]byte, int(h.Len)-len(head))
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		m, err := packet.ParseBGPBody(h, body)
		if err != nil {
			return err
		}
		if update, ok := m.Body.(*packet.BGPUpdate); ok && len(update.NLRI) > 0 {
			return nil
		}
	}
}

// RFC 4724, 4.2: a peer drops what is still stale when the session is lost again,
// so our routes do not wait for what others have to say.
func TestARestartedSpeakerAnnouncesAtOnce(t *testing.T) {
	_, r, conn := restarted(t)
	r.open(conn)
	r.keepalive(conn)
	if err := r.route(conn, deferralTime*time.Second*7/10); err != nil {
		t.Errorf("no route: %v", err)
	}
}

// Close does not come between the begin of a session and its routes.
func TestCloseWaitsForASessionOnItsWayUp(t *testing.T) {
	s, r, conn := restarted(t)
	r.open(conn)
	waitAny(t, s, "openconfirm")
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("closed at once, %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	r.keepalive(conn)
	if err := r.route(conn, 5*time.Second); err != nil {
		t.Errorf("no route: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// waitAny waits until one of the sessions is in state.
func waitAny(t *testing.T, s *Speaker, state string) {
	t.Helper()
	err := until(t.Context(), 5*time.Second, func() (bool, error) {
		st, err := s.State(t.Context())
		for _, session := range st.Sessions {
			if session.State == state {
				return true, nil
			}
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
}
