// Package node is the BGP side of a weir node: it decides what the speaker is
// told, and brings what the speaker learned into the kernel.
//
//	state --decide--> speaker --learned routes--> fib --> kernel
package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/decide"
	"github.com/weir-lb/weir/bgp/fib"
	"github.com/weir-lb/weir/bgp/tcpmd5"
)

// Options of a Node. Speaker and Kernel are required; the caller opens and
// closes the kernel, the node closes the speaker.
type Options struct {
	Kind    decide.Kind
	Speaker bgp.Speaker
	Kernel  fib.Kernel
	// Ledger tells which of the kernel's routes are ours. Optional; without it
	// all are that look so.
	Ledger *fib.Ledger
	// Refused reads the kernel's count of segments with a wrong signature.
	// Optional; without it nobody says that passwords differ.
	Refused func() (tcpmd5.Refused, error)
	// SweepAfter bounds how long routes of an earlier run may wait for the
	// sessions to confirm them, from Run and again from the first
	// configuration. Optional; zero means bgp.RestartTime.
	SweepAfter time.Duration
}

// Node drives a speaker and the kernel's routes. Its methods are safe for
// concurrent use; all of its goroutines are those of Run.
type Node struct {
	options Options
	table   *fib.Table
	// kick wakes Run after Apply.
	kick chan struct{}

	// applying serializes what is told to the speaker.
	applying sync.Mutex

	mu sync.Mutex
	// wanted is nil while BGP is not configured.
	wanted *wanted
	// failure is why the speaker does not do what wanted says; nil if it does.
	failure error
	result  fib.Result
	// evidence is what the kernel refused since a session last came up.
	evidence evidence
	// readFailure is why result is not of now; nil if it is.
	readFailure error
}

// wanted is what the last Apply asked for. It is not changed once stored.
type wanted struct {
	cfg    v1.BGP
	config bgp.Config
	// since is when BGP was configured first.
	since time.Time
}

// New returns a node that does nothing before Apply and Run.
func New(o Options) *Node {
	if o.Refused == nil {
		o.Refused = func() (tcpmd5.Refused, error) { return tcpmd5.Refused{}, nil }
	}
	if o.SweepAfter == 0 {
		o.SweepAfter = bgp.RestartTime
	}
	return &Node{options: o, table: fib.NewTable(o.Kernel, o.Ledger), kick: make(chan struct{}, 1)}
}

// Apply makes the speaker what cfg, services and roles ask for; a nil cfg
// stops it, tells the peers, and lets Run remove the learned routes. What the
// speaker refuses is returned, shown in Status, and tried again by Run.
func (n *Node) Apply(ctx context.Context, cfg *v1.BGP, services []v1.Service, roles []v1.Role) error {
	var w *wanted
	if cfg != nil {
		w = &wanted{
			cfg:    cloneBGP(*cfg),
			config: decide.Config(n.options.Kind, *cfg, services, roles),
			since:  time.Now(),
		}
	}
	n.applying.Lock()
	defer n.applying.Unlock()
	n.mu.Lock()
	if w != nil && n.wanted != nil {
		w.since = n.wanted.since
	}
	n.wanted = w
	n.mu.Unlock()
	return n.configure(ctx)
}

func cloneBGP(b v1.BGP) v1.BGP {
	b.Peers = slices.Clone(b.Peers)
	b.VIPs, b.Accept = slices.Clone(b.VIPs), slices.Clone(b.Accept)
	return b
}

// configure tells the speaker what is wanted and keeps the outcome. The
// caller holds applying.
func (n *Node) configure(ctx context.Context) error {
	n.mu.Lock()
	w := n.wanted
	n.mu.Unlock()
	err := tell(ctx, n.options.Speaker, w)
	n.mu.Lock()
	n.failure = err
	n.mu.Unlock()
	n.wake()
	return err
}

// tell makes the calls. Advertisements come before peers, so that the first
// UPDATEs of a new session already have all of them: a peer that restarts
// gracefully with us drops what is not among them.
func tell(ctx context.Context, s bgp.Speaker, w *wanted) error {
	if w == nil {
		return s.Stop(ctx)
	}
	if err := s.Start(ctx, w.config.Global); err != nil {
		return err
	}
	return errors.Join(
		s.SetPolicy(ctx, w.config.Policy),
		s.SetAdvertisements(ctx, w.config.Advertisements),
		s.SetPeers(ctx, w.config.Peers),
	)
}

func (n *Node) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Close ends the speaker as a crash would: peers keep our routes and the
// kernel keeps theirs, for the next run to adopt. To withdraw, Apply nil
// before.
func (n *Node) Close() error {
	n.applying.Lock()
	defer n.applying.Unlock()
	if err := n.options.Speaker.Close(); err != nil {
		return fmt.Errorf("close BGP speaker: %w", err)
	}
	return nil
}

// Clear removes the routes that Run has installed, or an earlier run. Call it
// when Run has ended.
func (n *Node) Clear() error {
	result, err := n.table.Sync(time.Now(), fib.Wanted{}, true)
	if err != nil {
		return fmt.Errorf("remove learned routes: %w", err)
	}
	for _, p := range result.Problems {
		err = errors.Join(err, fmt.Errorf("remove learned route to %s: %s", p.Prefix, p.Message))
	}
	return err
}

// originated returns the prefixes that w announces.
func (w *wanted) originated() []netip.Prefix {
	out := make([]netip.Prefix, 0, len(w.config.Advertisements))
	for _, ad := range w.config.Advertisements {
		out = append(out, ad.Prefix)
	}
	return out
}
