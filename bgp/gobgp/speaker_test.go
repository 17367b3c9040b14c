package gobgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"go.uber.org/goleak"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

const ourASN = 64512

// freePort returns a port of this machine that nobody listens on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func global(port uint16) bgp.Global {
	return bgp.Global{ASN: ourASN, RouterID: netip.MustParseAddr("198.51.100.10"), ListenPort: port}
}

// started returns a speaker that runs, closed when the test ends.
func started(t *testing.T, o Options) *Speaker {
	t.Helper()
	s := New(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := s.Start(t.Context(), global(freePort(t))); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetsNeedStart(t *testing.T) {
	s, ctx := New(Options{}), t.Context()
	for name, err := range map[string]error{
		"peers":          s.SetPeers(ctx, nil),
		"policy":         s.SetPolicy(ctx, bgp.Policy{}),
		"advertisements": s.SetAdvertisements(ctx, nil),
	} {
		if !errors.Is(err, errNotStarted) {
			t.Errorf("%s: %v, want %v", name, err, errNotStarted)
		}
	}
	if st, err := s.State(ctx); err != nil || len(st.Sessions)+len(st.Routes) > 0 {
		t.Errorf("state %+v, %v, want nothing", st, err)
	}
	if err := errors.Join(s.Stop(ctx), s.Close()); err != nil {
		t.Errorf("stopping what does not run: %v", err)
	}
}

func TestTakenAddressIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	for _, tt := range []struct {
		name   string
		grpc   string
		port   uint16
		remedy string
	}{
		{"the BGP port", "", port, "--listenBGPPort"},
		{"the gRPC address", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String(), freePort(t), "--gobgp-api"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Options{GRPC: tt.grpc})
			err := s.Start(t.Context(), global(tt.port))
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), tt.remedy) {
				t.Errorf("start: %v, want %v and %s", err, syscall.EADDRINUSE, tt.remedy)
			}
			// The other of the two addresses is not left bound.
			if err := s.Start(t.Context(), global(freePort(t))); tt.grpc == "" && err != nil {
				t.Errorf("start on a free port: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGlobalChangeRestarts(t *testing.T) {
	s := started(t, Options{})
	ctx := t.Context()
	first := s.run
	peer := bgp.Peer{Address: lb2, ASN: 64512, Port: 179, Role: v1.PeerLB, HoldTime: 9}
	if err := s.SetPeers(ctx, []bgp.Peer{peer}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, first.global); err != nil || s.run != first {
		t.Errorf("the same again: %v, restarted: %v", err, s.run != first)
	}
	for _, change := range []func(*bgp.Global){
		func(g *bgp.Global) { g.ASN = 4200000000 },
		func(g *bgp.Global) { g.RouterID = lb3 },
		func(g *bgp.Global) { g.ListenPort = freePort(t) },
	} {
		g := s.run.global
		change(&g)
		if err := s.Start(ctx, g); err != nil || s.run.global != g {
			t.Fatalf("start with %+v: %v", g, err)
		}
		if st, err := s.State(ctx); err != nil || len(st.Sessions) != 0 {
			t.Errorf("state after restart: %+v, %v", st, err)
		}
	}
}

func TestPeersChangeInPlace(t *testing.T) {
	s := started(t, Options{})
	ctx := t.Context()
	a := bgp.Peer{Address: lb2, ASN: 64512, Port: 179, Role: v1.PeerLB, HoldTime: 9}
	b := bgp.Peer{Address: client, ASN: 65101, Port: 179, Role: v1.PeerExternal, HoldTime: 9, MultiHop: true}
	set := func(peers ...bgp.Peer) map[string]*api.Peer {
		t.Helper()
		if err := s.SetPeers(ctx, peers); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]*api.Peer)
		err := s.run.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) { got[p.GetConf().GetNeighborAddress()] = p })
		if err != nil || len(got) != len(peers) {
			t.Fatalf("%d peers, %v, want %d", len(got), err, len(peers))
		}
		return got
	}
	got := set(a, b)
	timers, gr := got[lb2.String()].GetTimers().GetConfig(), got[lb2.String()].GetGracefulRestart()
	if timers.GetHoldTime() != 9 || timers.GetKeepaliveInterval() != 3 {
		t.Errorf("timers %v, want 9 s and a third of it", timers)
	}
	if !gr.GetEnabled() || gr.GetRestartTime() != 30 || gr.GetDeferralTime() != 1 || gr.GetNotificationEnabled() || gr.GetLocalRestarting() {
		t.Errorf("graceful restart %v", gr)
	}
	if hops := got[client.String()].GetEbgpMultihop(); !hops.GetEnabled() {
		t.Errorf("multihop %v", hops)
	}
	a.HoldTime, b.ASN = 3, 65102
	got = set(a, b)
	if p := got[lb2.String()]; p.GetTimers().GetConfig().GetHoldTime() != 3 {
		t.Errorf("hold time %v, want 3", p.GetTimers().GetConfig())
	}
	if p := got[client.String()]; p.GetConf().GetPeerAsn() != 65102 {
		t.Errorf("AS %d, want 65102", p.GetConf().GetPeerAsn())
	}
	set(b)
	set()
}

func TestRestartIsToldOnlyOnce(t *testing.T) {
	s := started(t, Options{Restarting: true})
	restarting := func() bool { return time.Now().Before(s.run.restarting) }
	if !restarting() {
		t.Error("the first run does not say that it restarts")
	}
	g := s.run.global
	g.ASN++
	if err := s.Start(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if restarting() {
		t.Error("another AS says that it restarts")
	}
}

func TestAdvertisements(t *testing.T) {
	s := started(t, Options{})
	ctx := t.Context()
	rib := func() map[string]uint32 {
		t.Helper()
		out := make(map[string]uint32)
		err := s.run.server.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: packet.RF_IPv4_UC},
			func(nlri packet.NLRI, paths []*apiutil.Path) {
				for _, a := range paths[0].Attrs {
					if pref, ok := a.(*packet.PathAttributeLocalPref); ok && len(paths) == 1 {
						out[nlri.String()] = pref.Value
					}
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, tt := range []struct {
		name string
		ads  []v1.Advertisement
		want map[string]uint32
	}{
		{"announced", []v1.Advertisement{{Prefix: vip1, LocalPref: 1000}, {Prefix: vip2, LocalPref: 990, MED: 10}}, map[string]uint32{vip1.String(): 1000, vip2.String(): 990}},
		{"one replaced", []v1.Advertisement{{Prefix: vip1, LocalPref: 980}, {Prefix: vip2, LocalPref: 990, MED: 10}}, map[string]uint32{vip1.String(): 980, vip2.String(): 990}},
		{"one withdrawn", []v1.Advertisement{{Prefix: vip2, LocalPref: 990, MED: 10}}, map[string]uint32{vip2.String(): 990}},
		{"all withdrawn", nil, map[string]uint32{}},
	} {
		if err := s.SetAdvertisements(ctx, tt.ads); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := rib()
		if len(got) != len(tt.want) {
			t.Errorf("%s: RIB %v, want %v", tt.name, got, tt.want)
		}
		for p, pref := range tt.want {
			if got[p] != pref {
				t.Errorf("%s: RIB %v, want %v", tt.name, got, tt.want)
			}
		}
		if st, err := s.State(ctx); err != nil || len(st.Routes) != 0 {
			t.Errorf("%s: learned %v from ourselves, %v", tt.name, st.Routes, err)
		}
	}
	v6 := []v1.Advertisement{{Prefix: netip.MustParsePrefix("2001:db8::1/128")}}
	if err := s.SetAdvertisements(ctx, v6); err == nil || !strings.Contains(err.Error(), "2001:db8::1/128") {
		t.Errorf("IPv6: %v, want an error that names the prefix", err)
	}
}

func TestNothingLeaks(t *testing.T) {
	// GoBGP may leave one behind for a session that was up when its peer went:
	// it drains that session's queue without waiting.
	others := goleak.IgnoreCurrent()
	defer goleak.VerifyNone(t, others)
	s := New(Options{GRPC: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t)).String()})
	goleak.VerifyNone(t, others) // none from the constructor
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		if err := s.Start(ctx, global(freePort(t))); err != nil {
			t.Fatal(err)
		}
		if err := s.SetPeers(ctx, []bgp.Peer{{Address: lb2, ASN: 64512, Port: 179, Role: v1.PeerLB, HoldTime: 9}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, global(freePort(t))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
