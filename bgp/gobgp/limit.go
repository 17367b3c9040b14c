package gobgp

import (
	"context"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/bgp"
)

// readmitAfter is how long a peer stays out that brought too many prefixes,
// unless Options say otherwise: long enough that a session which fills and
// falls over and over disturbs nobody.
const readmitAfter = 5 * time.Minute

// shut is a peer that is kept out.
type shut struct {
	peer  bgp.Peer
	since time.Time
}

// shutOut removes a peer that brought more prefixes than it may, and so its
// routes, until it is time or another configuration comes. GoBGP has ended the
// session; by itself it would keep the routes, as graceful restart has it. The
// caller holds mu.
func (s *Speaker) shutOut(ctx context.Context, r *run, addr netip.Addr, peer bgp.Peer) {
	if err := r.deletePeer(ctx, addr); err != nil {
		s.options.Logger.Error("shut out peer", "error", err)
		return
	}
	out := shut{peer, time.Now()}
	r.shut[addr] = out
	s.options.Logger.Warn("peer brought too many prefixes and is shut out", "peer", addr, "limit", peer.MaxPrefixes, "for", s.options.ReadmitAfter)
	time.AfterFunc(s.options.ReadmitAfter, func() { s.readmit(ctx, r, addr, out) })
}

// readmit adds the peer again, if it is still out for what it was.
func (s *Speaker) readmit(ctx context.Context, r *run, addr netip.Addr, out shut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != r || r.shut[addr] != out {
		return
	}
	delete(r.shut, addr)
	if err := r.setPeer(ctx, addr, out.peer); err != nil {
		s.options.Logger.Error("let peer in again", "error", err)
	}
	s.notify()
}
