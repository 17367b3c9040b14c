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
)

// withdrawWithin bounds how long the end waits for BGP sessions to close.
const withdrawWithin = 3 * time.Second

// speaker is a BGP node with the kernel handle that it works on.
type speaker struct {
	*node.Node
	kernel *fib.Netlink
	// forwards tells that this process carries the traffic that the peers
	// were told to send here.
	forwards bool
}

func openSpeaker(c config, log *slog.Logger) (*speaker, error) {
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
			Speaker: gobgp.New(gobgp.Options{GRPC: c.gobgpAPI, Logger: log.With("part", "gobgp")}),
			Kernel:  kernel,
		}),
		kernel:   kernel,
		forwards: !c.peer,
	}, nil
}

// Close ends the sessions. A node that forwards withdraws what it announces:
// its programs end with it, so peers must not go on sending for as long as a
// graceful restart lets them. A peer announces nothing and may come back to
// routes that stand.
func (s *speaker) Close() error {
	var withdraw error
	if s.forwards {
		ctx, cancel := context.WithTimeout(context.Background(), withdrawWithin)
		defer cancel()
		withdraw = s.Apply(ctx, nil, nil, nil)
	}
	return errors.Join(withdraw, s.Node.Close(), s.kernel.Close())
}
