package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weir-lb/weir/bgp/decide"
	"github.com/weir-lb/weir/bgp/fib"
	"github.com/weir-lb/weir/bgp/gobgp"
	"github.com/weir-lb/weir/bgp/node"
	"github.com/weir-lb/weir/bgp/tcpmd5"
)

// withdrawWithin bounds how long the end waits for BGP sessions to close.
const withdrawWithin = 3 * time.Second

// speaker is a BGP node with the kernel handle that it works on.
type speaker struct {
	*node.Node
	kernel *fib.Netlink
	// forwards tells that this process carries the traffic that the peers
	// were told to send here, and that this ends with it.
	forwards bool
}

// openSpeaker makes a speaker; kept says that forwarding went on since an
// earlier run, so that the peers may keep their routes meanwhile.
func openSpeaker(c config, kept bool, log *slog.Logger) (*speaker, error) {
	ledger, err := openLedger(c)
	if err != nil {
		return nil, err
	}
	kernel, err := fib.OpenNetlink()
	if err != nil {
		return nil, err
	}
	kind := decide.LB
	if c.peer {
		kind = decide.Peer
	}
	return &speaker{
		Node: node.New(node.Options{
			Kind:    kind,
			Speaker: gobgp.New(gobgp.Options{GRPC: c.gobgpAPI, Restarting: kept, Logger: log.With("part", "gobgp")}),
			Kernel:  kernel,
			Ledger:  ledger,
			Refused: tcpmd5.Read,
		}),
		kernel:   kernel,
		forwards: !c.peer && c.pinDir == "",
	}, nil
}

// openLedger reads which routes are ours; nil without --state-dir, where all are
// that look so.
func openLedger(c config) (*fib.Ledger, error) {
	if c.stateDir == "" {
		return nil, nil
	}
	return fib.OpenLedger(c.stateDir)
}

// Close ends the sessions as a crash would: the peers keep their routes, for
// the next run to confirm. A node whose programs end with it withdraws what it
// announces, so that nobody goes on sending for as long as a graceful restart
// lets them.
func (s *speaker) Close() error {
	var withdraw error
	if s.forwards {
		ctx, cancel := context.WithTimeout(context.Background(), withdrawWithin)
		defer cancel()
		withdraw = s.Apply(ctx, nil, nil, nil)
	}
	return errors.Join(withdraw, s.Node.Close(), s.kernel.Close())
}

// stop ends the sessions for good and removes the learned routes. Call it when
// Run has ended.
func (s *speaker) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), withdrawWithin)
	defer cancel()
	return errors.Join(s.Apply(ctx, nil, nil, nil), s.Clear(), s.Node.Close(), s.kernel.Close())
}
