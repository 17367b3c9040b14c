package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"

	v1 "github.com/weir-lb/weir/api/v1"
)

const (
	// confirmPoll is how often a session is looked at that is on its way up.
	confirmPoll = 2 * time.Millisecond
	// confirmWithin bounds those looks for a session that GoBGP has just
	// reported as up.
	confirmWithin = 200 * time.Millisecond
	// settleWithin bounds how long Close waits for sessions on their way up.
	settleWithin = time.Second
	// settleLooks is how many looks in a row must find all settled: GoBGP counts
	// an UPDATE before it is on its way, and a session that is dialled now is
	// half up a moment later.
	settleLooks = 25
)

// confirm sends a peer our routes as soon as the session is up, and does not
// wait for deferralTime: RFC 4724, 4.2 has the peer drop what is still stale
// when the session is lost again, so that a second restart in that second would
// take the routes away. Only peers outside need it: what other nodes of ours
// learn over a session that was up stays, GoBGP keeps it, and the End-of-RIB that
// goes with this would have them drop too early what we pass on.
func (r *run) confirm(ctx context.Context, addr netip.Addr) error {
	if r.peers[addr].Role != v1.PeerExternal || time.Now().After(r.restarting) {
		return nil
	}
	// GoBGP says that the session is up some microseconds before it acts so.
	err := until(ctx, confirmWithin, func() (bool, error) {
		state, err := r.peerState(ctx, addr)
		return state.GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED, err
	})
	if err != nil {
		return err
	}
	return r.reset(ctx, &api.ResetPeerRequest{
		Address: addr.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
	})
}

// settle waits until no session is in the moments in which its loss would take
// routes away: RFC 4724 keeps them only over the loss of a session that was up
// and had them.
func (s *Speaker) settle() {
	ctx := context.Background()
	looks := 0
	// The error is that the wait was too long, or that the server ends.
	_ = until(ctx, settleWithin, func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.run == nil || len(s.run.peers) == 0 {
			return true, nil
		}
		looks++
		for addr := range s.run.peers {
			state, err := s.run.peerState(ctx, addr)
			if err != nil {
				return false, err
			}
			if !s.run.settled(addr, state) {
				looks = 0
			}
		}
		return looks >= settleLooks, nil
	})
}

func (r *run) settled(addr netip.Addr, state *api.PeerState) bool {
	switch state.GetSessionState() {
	case api.PeerState_SESSION_STATE_OPENSENT, api.PeerState_SESSION_STATE_OPENCONFIRM:
		return false
	case api.PeerState_SESSION_STATE_ESTABLISHED:
		return r.peers[addr].Role != v1.PeerExternal || state.GetMessages().GetSent().GetUpdate() > 0
	}
	return true
}

func (r *run) peerState(ctx context.Context, addr netip.Addr) (*api.PeerState, error) {
	var state *api.PeerState
	err := r.server.ListPeer(ctx, &api.ListPeerRequest{Address: addr.String()}, func(p *api.Peer) { state = p.GetState() })
	return state, err
}

// until looks until done says so or the time is up, which is an error.
func until(ctx context.Context, within time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	poll := time.NewTicker(confirmPoll)
	defer poll.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a BGP session: %w", ctx.Err())
		case <-poll.C:
		}
	}
}
