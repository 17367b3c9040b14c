package gobgp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// announce sends one UPDATE for each of n prefixes 203.0.113.i/32.
func (r remote) announce(conn net.Conn, n int) {
	r.t.Helper()
	hop, err := packet.NewPathAttributeNextHop(netip.MustParseAddr("127.0.0.2"))
	if err != nil {
		r.t.Fatal(err)
	}
	attributes := []packet.PathAttributeInterface{
		packet.NewPathAttributeOrigin(0),
		packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{externalASN})}),
		hop,
	}
	if r.asn == ourASN {
		attributes = append(attributes, packet.NewPathAttributeLocalPref(5000)) // better than any of ours
	}
	for i := range n {
		nlri, err := packet.NewIPAddrPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32))
		if err != nil {
			r.t.Fatal(err)
		}
		data, err := packet.NewBGPUpdateMessage(nil, attributes, []packet.PathNLRI{{NLRI: nlri}}).Serialize()
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := conn.Write(data); err != nil {
			return // weir ended the session
		}
	}
}

// A peer that brings more than it may loses its session and its routes, though
// it does not close its end, and is let in again after a while.
func TestPeerThatBringsTooManyPrefixesIsShutOut(t *testing.T) {
	s := started(t, Options{ReadmitAfter: 3 * time.Second})
	r := remote{t: t, address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(freePort(t))}, forgetful: true}
	l := r.listen()
	peer := bgp.Peer{
		Address: netip.MustParseAddr("127.0.0.2"), ASN: 64999, Port: uint16(r.address.Port),
		Role: v1.PeerExternal, HoldTime: 90, MaxPrefixes: 10,
	}
	if err := s.SetPeers(t.Context(), []bgp.Peer{peer}); err != nil {
		t.Fatal(err)
	}
	conn := r.accept(l, 10*time.Second)
	r.establish(conn)
	waitFor(t, s, 5*time.Second, bgp.Established)
	r.announce(conn, 10)
	wait(t, s, 5*time.Second, "has ten prefixes", func(p bgp.Session) bool { return p.Accepted == 10 })
	r.announce(conn, 20)
	wait(t, s, 10*time.Second, "shut out", func(p bgp.Session) bool { return p.TooMany })
	if st, err := s.State(t.Context()); err != nil || len(st.Routes) > 0 {
		t.Errorf("routes of a peer that is shut out: %v, %v", st.Routes, err)
	}
	if err := s.SetPeers(t.Context(), []bgp.Peer{peer}); err != nil {
		t.Fatal(err)
	}
	wait(t, s, time.Second, "shut out still", func(p bgp.Session) bool { return p.TooMany })

	peer.MaxPrefixes = 30
	if err := s.SetPeers(t.Context(), []bgp.Peer{peer}); err != nil {
		t.Fatal(err)
	}
	conn = r.accept(l, 10*time.Second)
	r.establish(conn)
	waitFor(t, s, 5*time.Second, bgp.Established)
	r.announce(conn, 30)
	wait(t, s, 5*time.Second, "has thirty prefixes", func(p bgp.Session) bool { return p.Accepted == 30 })
	r.announce(conn, 31)
	wait(t, s, 10*time.Second, "shut out", func(p bgp.Session) bool { return p.TooMany })
	wait(t, s, 10*time.Second, "let in again", func(p bgp.Session) bool { return !p.TooMany })
}

// The guard refuses what is protected, takes what is accepted and nothing
// else, and a change of it does not end the session.
func TestGuardAgainstExternalPeers(t *testing.T) {
	s := started(t, Options{})
	r := remote{t: t, address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(freePort(t))}, forgetful: true}
	l := r.listen()
	err := s.SetPeers(t.Context(), []bgp.Peer{{
		Address: netip.MustParseAddr("127.0.0.2"), ASN: 64999, Port: uint16(r.address.Port), Role: v1.PeerExternal, HoldTime: 90,
	}})
	if err != nil {
		t.Fatal(err)
	}
	conn := r.accept(l, 10*time.Second)
	r.establish(conn)
	waitFor(t, s, 5*time.Second, bgp.Established)
	r.announce(conn, 20)
	wait(t, s, 5*time.Second, "has twenty prefixes", func(p bgp.Session) bool { return p.Accepted == 20 })
	prefixes := func(text ...string) []netip.Prefix {
		out := []netip.Prefix{}
		for _, p := range text {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, tt := range []struct {
		name           string
		refuse, accept []netip.Prefix
		routes         int
	}{
		{"four are protected", prefixes("203.0.113.0/30"), nil, 16},
		{"of sixteen that are accepted too", prefixes("203.0.113.0/30"), prefixes("203.0.113.0/28"), 12},
		{"only these", nil, prefixes("203.0.113.4/31", "203.0.113.7/32"), 3},
		{"none", nil, prefixes(), 0},
		{"all again", nil, nil, 20},
	} {
		if err := s.SetPolicy(t.Context(), bgp.Policy{RefuseFromExternal: tt.refuse, AcceptFromExternal: tt.accept}); err != nil {
			t.Fatal(err)
		}
		waitForRoutes(t, s, tt.name, tt.routes)
	}
}

// LB nodes take nothing from workers, not even addresses that are announced by
// nobody, and a change of that does not end the session.
func TestNothingIsTakenFromWorkers(t *testing.T) {
	s := started(t, Options{})
	r := remote{t: t, address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(freePort(t))}, forgetful: true, asn: ourASN}
	l := r.listen()
	err := s.SetPeers(t.Context(), []bgp.Peer{{
		Address: netip.MustParseAddr("127.0.0.2"), ASN: ourASN, Port: uint16(r.address.Port), Role: v1.PeerWorker, HoldTime: 90,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetAdvertisements(t.Context(), []v1.Advertisement{{Prefix: vip1, LocalPref: 1000}}); err != nil {
		t.Fatal(err)
	}
	conn := r.accept(l, 10*time.Second)
	r.establish(conn)
	waitFor(t, s, 5*time.Second, bgp.Established)
	r.announce(conn, 20)
	wait(t, s, 5*time.Second, "has twenty prefixes", func(p bgp.Session) bool { return p.Accepted == 20 })
	for _, tt := range []struct {
		name   string
		refuse bool
		routes int
	}{
		{"nobody refuses, and a worker takes even a VIP of this node", false, 20},
		{"refused", true, 0},
		{"all again", false, 20},
	} {
		if err := s.SetPolicy(t.Context(), bgp.Policy{RefuseFromWorkers: tt.refuse}); err != nil {
			t.Fatal(err)
		}
		waitForRoutes(t, s, tt.name, tt.routes)
	}
}

// waitForRoutes waits until n routes are learned, while the only session stands.
func waitForRoutes(t *testing.T, s *Speaker, when string, n int) {
	t.Helper()
	within := time.Now().Add(5 * time.Second)
	for {
		st, err := s.State(t.Context())
		if err != nil || len(st.Sessions) != 1 || st.Sessions[0].State != bgp.Established {
			t.Fatalf("%s: %+v, %v", when, st, err)
		}
		if len(st.Routes) == n {
			return
		}
		if time.Now().After(within) {
			t.Fatalf("%s: %d routes, want %d", when, len(st.Routes), n)
		}
		select {
		case <-s.Watch():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
