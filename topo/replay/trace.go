package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
	"github.com/weir-lb/weir/topo/spec"
)

// settle is how long the last sightings of a packet may take to reach the
// captures after the command has its answer.
const settle = 5 * time.Second

// tracer holds a capture for each interface of a trace. A nil tracer is a step
// without one: its methods do nothing.
type tracer struct {
	trace    spec.Trace
	target   netip.AddrPort
	captures []*capture.Capture
	hops     int       // sightings that there must be
	blind    bool      // some are missing because XDP takes frames before a capture
	since    time.Time // of the present try: earlier frames are not its own
}

func openTracer(t *topo.Topology, trace *spec.Trace) (*tracer, error) {
	if trace == nil {
		return nil, nil
	}
	target, err := netip.ParseAddrPort(trace.Target)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	tr := &tracer{trace: *trace, target: target, hops: trace.Hops}
	for _, e := range trace.Interfaces {
		if n := t.Node(e.Node); n.Spec.Role == spec.LB && n.Vars.Vars["hook"] == "xdp" {
			tr.hops, tr.blind = tr.hops-2, true
			continue
		}
		c, err := capture.Open(capture.Options{Interface: e.Interface, Node: e.Node, Enter: t.Node(e.Node).Do})
		if err != nil {
			return nil, errors.Join(err, tr.close())
		}
		tr.captures = append(tr.captures, c)
	}
	return tr, nil
}

// forget starts a new try.
func (t *tracer) forget() {
	if t != nil {
		t.since = time.Now()
	}
}

// report prints the way of the first packet out and of the first back.
func (t *tracer) report(ctx context.Context, out io.Writer) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, way := range []struct {
		name  string
		match func(capture.Frame, packet.Packet) bool
	}{
		{"request", func(f capture.Frame, p packet.Packet) bool { return f.Outgoing && p.Dst == t.target }},
		{"answer", func(f capture.Frame, p packet.Packet) bool { return !f.Outgoing && p.Src == t.target }},
	} {
		path, err := t.follow(ctx, way.match)
		if err != nil {
			return fmt.Errorf("trace of the %s: %w", way.name, err)
		}
		fmt.Fprintf(out, "  the %s's first packet, hop by hop (> leaves, < arrives):\n%s\n", way.name, indent(path.String(), "  | "))
	}
	if t.blind {
		fmt.Fprintln(out, "  (XDP takes frames on the load balancer before a capture there could see them)")
	}
	return nil
}

// follow waits until a packet of this try has been seen on all the hops.
func (t *tracer) follow(ctx context.Context, match func(capture.Frame, packet.Packet) bool) (capture.Path, error) {
	first, err := t.captures[0].Wait(ctx, func(f capture.Frame) bool {
		p, err := f.Packet()
		return err == nil && f.Time.After(t.since) && p.Protocol.String() == t.trace.Protocol && match(f, p)
	})
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		path, err := capture.Hops(first, t.captures...)
		if err != nil {
			return nil, err
		}
		if len(path) >= t.hops {
			return path, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("seen %d times, expected %d:\n%s", len(path), t.hops, path)
		case <-tick.C:
		}
	}
}

func (t *tracer) close() error {
	if t == nil {
		return nil
	}
	var errs []error
	for _, c := range t.captures {
		errs = append(errs, c.Stop())
	}
	return errors.Join(errs...)
}
