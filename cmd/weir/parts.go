package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/dataplane"
)

// parts are what the agent drives. Either is nil where the flags leave it out.
type parts struct {
	dataplane *dataplane.Dataplane
	speaker   *speaker
}

// open makes the parts that the flags ask for. With restored, an earlier run
// has left its state file.
func open(c config, restored bool, log *slog.Logger) (parts, error) {
	var p parts
	// Peers may keep the routes to us only if we kept forwarding: a peer has
	// its routes in the kernel, a load balancer its pinned programs.
	kept := restored
	if !c.peer {
		d, err := openDataplane(c, log)
		if err != nil {
			return parts{}, err
		}
		p.dataplane, kept = d, d.Adopted()
	}
	if c.bgp {
		s, err := openSpeaker(c, kept, log)
		if err != nil {
			return parts{}, errors.Join(err, p.close())
		}
		p.speaker = s
	}
	return p, nil
}

// openUntil is open, but for when ctx ends first. The verifier takes seconds on a busy machine, and only the end of the
// process cuts it short: then what is being opened is left as by a crash, which the next run takes up (ADR 0007).
func openUntil(ctx context.Context, c config, restored bool, log *slog.Logger) (p parts, ended bool, err error) {
	type outcome struct {
		parts
		error
	}
	opened := make(chan outcome, 1)
	go func() {
		p, err := open(c, restored, log)
		opened <- outcome{p, err}
	}()
	select {
	case o := <-opened:
		return o.parts, false, o.error
	case <-ctx.Done():
		return parts{}, true, nil
	}
}

// close ends the speaker first: no peer may send here once nothing forwards.
func (p parts) close() error { return p.end((*speaker).Close, (*dataplane.Dataplane).Close) }

// stop is close that leaves nothing on the node.
func (p parts) stop() error { return p.end((*speaker).stop, (*dataplane.Dataplane).Stop) }

func (p parts) end(speaks func(*speaker) error, forwards func(*dataplane.Dataplane) error) error {
	var errs []error
	if p.speaker != nil {
		errs = append(errs, speaks(p.speaker))
	}
	if p.dataplane != nil {
		errs = append(errs, forwards(p.dataplane))
	}
	return errors.Join(errs...)
}

// fill gives the agent what there is. A nil pointer in an interface is not nil.
func (p parts) fill(o agent.Options) agent.Options {
	if p.dataplane != nil {
		o.Dataplane = p.dataplane
	}
	if p.speaker != nil {
		o.Speaker = p.speaker
	}
	return o
}
