package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/weir-lb/weir/bgp"
)

// watched is what we remember of a session between two events.
type watched struct {
	// notifications that we had sent when the session came up.
	notifications uint64
}

// watch has GoBGP report changes of r until ctx ends. The callbacks run on a
// goroutine of GoBGP that ends with ctx; nothing waits for them.
func (s *Speaker) watch(ctx context.Context, r *run) error {
	return r.server.WatchEvent(ctx, server.WatchEventMessageCallbacks{
		// The events name one changed path each. State lists the table, which
		// cannot go out of step.
		OnBestPath: func([]*apiutil.Path, time.Time) { s.notify() },
		OnPathEor:  func(*apiutil.Path, time.Time) { s.notify() },
		OnPeerUpdate: func(m *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
			if m.Type == apiutil.PEER_EVENT_STATE {
				s.peerChanged(ctx, r, m.Peer.State)
			}
			s.notify()
		},
	}, server.WatchBestPath(true), server.WatchEor(true), server.WatchPeer())
}

// peerChanged lets go of the routes of a peer that fell silent, and starts anew
// with one that did not come back in time.
//
// Where graceful restart is negotiated, GoBGP keeps the routes of a peer for
// its restart time, 30 s, however the session ended. That is right when the
// connection closed: a process ended, its host and dataplane are alive. When
// the hold time ran out nobody is alive, and the standby has to take over
// now; RFC 4724 keeps routes only when the session ends without a
// NOTIFICATION. GoBGP reports "graceful restart" for both, but for an
// expired hold time alone it has sent a NOTIFICATION. The peer is removed
// and added, which drops its routes.
func (s *Speaker) peerChanged(ctx context.Context, r *run, state apiutil.PeerState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	addr := state.NeighborAddress
	peer, ok := r.peers[addr]
	if !ok || s.run != r {
		return
	}
	if state.AdminState == api.PeerState_ADMIN_STATE_PFX_CT {
		s.shutOut(ctx, r, addr, peer)
		return
	}
	if state.DisconnectReason == api.PeerState_DISCONNECT_REASON_RESTART_TIMER_EXPIRED {
		// GoBGP has dropped the routes, but forgets who dials: when the peer
		// comes back, one connection makes the session and a second goroutine
		// goes on dialling for as long as that lasts, every second or two.
		s.renewPeer(ctx, r, addr, peer)
		return
	}
	up := state.SessionState == packet.BGP_FSM_ESTABLISHED
	old := r.sessions[addr]
	if !up && (old == nil || state.DisconnectReason != api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART) {
		return
	}
	sent, err := r.notificationsSent(ctx, addr)
	if err != nil {
		return // the server stops
	}
	if up {
		r.sessions[addr] = &watched{notifications: sent}
		if err := r.confirm(ctx, addr); err != nil && ctx.Err() == nil {
			s.options.Logger.Warn("routes are announced a second late", "peer", addr, "error", err)
		}
		return
	}
	delete(r.sessions, addr)
	if sent == old.notifications {
		return
	}
	s.options.Logger.Info("hold time expired, routes dropped", "peer", addr)
	s.renewPeer(ctx, r, addr, peer)
}

// renewPeer removes and adds a peer, so that nothing of its past is left. The
// caller holds mu.
func (s *Speaker) renewPeer(ctx context.Context, r *run, addr netip.Addr, peer bgp.Peer) {
	err := r.deletePeer(ctx, addr)
	if err == nil {
		err = r.setPeer(ctx, addr, peer)
	}
	if err != nil {
		s.options.Logger.Error("renew peer", "error", err)
	}
}

func (r *run) notificationsSent(ctx context.Context, addr netip.Addr) (uint64, error) {
	state, err := r.peerState(ctx, addr)
	return state.GetMessages().GetSent().GetNotification(), err
}

// State implements bgp.Speaker.
func (s *Speaker) State(ctx context.Context) (bgp.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return bgp.State{}, nil
	}
	var st bgp.State
	err := s.run.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		if session, ok := session(p); ok {
			st.Sessions = append(st.Sessions, session)
		}
	})
	if err != nil {
		return bgp.State{}, fmt.Errorf("list BGP peers: %w", err)
	}
	for addr, out := range s.run.shut {
		st.Sessions = append(st.Sessions, bgp.Session{Address: addr, State: "idle", Since: out.since, TooMany: true})
	}
	slices.SortFunc(st.Sessions, func(a, b bgp.Session) int { return a.Address.Compare(b.Address) })
	st.Routes, err = s.run.routes()
	return st, err
}

func session(p *api.Peer) (bgp.Session, bool) {
	addr, err := netip.ParseAddr(p.GetState().GetNeighborAddress())
	if err != nil {
		return bgp.Session{}, false
	}
	out := bgp.Session{
		Address: addr,
		State:   strings.ToLower(strings.TrimPrefix(p.GetState().GetSessionState().String(), "SESSION_STATE_")),
	}
	since := p.GetTimers().GetState().GetDowntime()
	if out.State == bgp.Established {
		since = p.GetTimers().GetState().GetUptime()
		out.EndOfRIB = len(p.GetAfiSafis()) > 0
	}
	if since.GetSeconds() > 0 {
		out.Since = since.AsTime()
	}
	for _, f := range p.GetAfiSafis() {
		out.Received += f.GetState().GetReceived()
		out.Accepted += f.GetState().GetAccepted()
		out.EndOfRIB = out.EndOfRIB && f.GetMpGracefulRestart().GetState().GetEndOfRibReceived()
	}
	return out, true
}
