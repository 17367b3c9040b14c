package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

const (
	// deferralTime in seconds is how long a restarted speaker waits for the
	// End-of-RIB of all its peers before it announces anything. GoBGP's 360
	// left kube-router's users without routes for six minutes (#1323). What we
	// originate does not depend on what peers say, and a session that is lost
	// again before our End-of-RIB takes the routes with it (RFC 4724, 4.2).
	deferralTime = 1
	// connectRetry and idleHold in seconds: how soon a lost peer is dialled.
	// GoBGP's defaults of 120 and 30 are for peers on other continents.
	connectRetry = 1
	idleHold     = 1
	// multiHopTTL reaches an eBGP peer that many hops away.
	multiHopTTL = 8
	// neighborTTL is that of packets which crossed no router (RFC 5082).
	neighborTTL = 255
)

// families that sessions negotiate. IPv6 is one more line here, a "::" in
// listenAddress and in the fib package's list.
var families = []*api.Family{{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}}

// SetPeers implements bgp.Speaker.
func (s *Speaker) SetPeers(ctx context.Context, peers []bgp.Peer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.run
	if r == nil {
		return fmt.Errorf("set BGP peers: %w", errNotStarted)
	}
	want := make(map[netip.Addr]bgp.Peer, len(peers))
	for _, p := range peers {
		want[p.Address] = p
	}
	// Peers that leave go first, so that no policy lets go of them while
	// their paths are still in; those that come, come into a policy that
	// knows them.
	for addr := range r.peers {
		if _, ok := want[addr]; !ok {
			if err := r.deletePeer(ctx, addr); err != nil {
				return err
			}
		}
	}
	for addr, out := range r.shut {
		if want[addr] != out.peer {
			delete(r.shut, addr)
		}
	}
	if err := r.applyRules(ctx, rulesOf(r.global.ASN, r.policy, want, r.ads)); err != nil {
		return err
	}
	for addr, p := range want {
		if _, out := r.shut[addr]; out {
			continue
		}
		if err := r.setPeer(ctx, addr, p); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) deletePeer(ctx context.Context, addr netip.Addr) error {
	if err := r.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: addr.String()}); err != nil {
		return fmt.Errorf("delete BGP peer %s: %w", addr, err)
	}
	delete(r.peers, addr)
	delete(r.sessions, addr)
	return nil
}

func (r *run) setPeer(ctx context.Context, addr netip.Addr, p bgp.Peer) error {
	old, exists := r.peers[addr]
	switch {
	case !exists:
		if err := r.server.AddPeer(ctx, &api.AddPeerRequest{Peer: r.apiPeer(p)}); err != nil {
			return fmt.Errorf("add BGP peer %s: %w", addr, err)
		}
	case old == p:
		return nil
	case old.Password != p.Password, old.TTLSecurity != p.TTLSecurity, old.MaxPrefixes > p.MaxPrefixes:
		// GoBGP gives its listening socket a password with a new peer only, and
		// a connection its TTL when it begins; a lower limit counts anew.
		if err := r.deletePeer(ctx, addr); err != nil {
			return err
		}
		return r.setPeer(ctx, addr, p)
	default:
		if err := r.updatePeer(ctx, old, p); err != nil {
			return err
		}
	}
	r.peers[addr] = p
	return nil
}

// updatePeer changes a peer in place. GoBGP resets the session by itself if
// that is what the change takes, but for the hold time, which only the next
// OPEN would carry.
func (r *run) updatePeer(ctx context.Context, old, p bgp.Peer) error {
	if _, err := r.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: r.apiPeer(p)}); err != nil {
		return fmt.Errorf("update BGP peer %s: %w", p.Address, err)
	}
	if old.HoldTime != p.HoldTime {
		return r.reset(ctx, &api.ResetPeerRequest{Address: p.Address.String()})
	}
	if old.Role != p.Role {
		return r.reset(ctx, &api.ResetPeerRequest{
			Address: p.Address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_BOTH,
		})
	}
	return nil
}

func (r *run) reset(ctx context.Context, req *api.ResetPeerRequest) error {
	if err := r.server.ResetPeer(ctx, req); err != nil {
		return fmt.Errorf("reset BGP peer %s: %w", req.Address, err)
	}
	return nil
}

func (r *run) apiPeer(p bgp.Peer) *api.Peer {
	peer := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.ASN, AuthPassword: string(p.Password)},
		Transport: &api.Transport{RemotePort: uint32(p.Port), PassiveMode: p.Passive},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime:               uint64(p.HoldTime),
			KeepaliveInterval:      uint64(p.HoldTime / 3),
			ConnectRetry:           connectRetry,
			IdleHoldTimeAfterReset: idleHold,
		}},
		// Without NotificationEnabled (RFC 8538, the N bit): with it, FRR keeps
		// the routes of a node that is dead, its hold time expired, for all of
		// RestartTime.
		GracefulRestart: &api.GracefulRestart{
			Enabled:         true,
			RestartTime:     uint32(bgp.RestartTime / time.Second),
			DeferralTime:    deferralTime,
			LocalRestarting: time.Now().Before(r.restarting),
		},
	}
	for _, f := range families {
		peer.AfiSafis = append(peer.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: f, Enabled: true},
			PrefixLimits:      &api.PrefixLimit{Family: f, MaxPrefixes: p.MaxPrefixes},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		})
	}
	if p.Role == v1.PeerExternal && p.MultiHop {
		peer.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: multiHopTTL}
	}
	if p.TTLSecurity {
		peer.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: neighborTTL}
	}
	return peer
}
