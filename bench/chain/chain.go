// Package chain measures what forwarding a datagram costs: a generator in the
// client's namespace, the balancer, and a sink at the server, all in one softirq
// on one CPU. Differences between balancers are theirs alone.
package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/programs"
	"github.com/weir-lb/weir/bench/result"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// Chain is the way through one lab. It is not safe for concurrent use.
type Chain struct {
	lab      *lab.Lab
	clock    programs.Clock
	programs *programs.Programs
	floor    *programs.Programs // of a lab without a balancer of its own
	links    []link.Link
	steady   [][]byte
	next     int // the first client that has not sent yet
}

// Open attaches generator, sink and, where there is no balancer, the floor's
// program. What stands on the lab's interfaces then is checked. Requires Linux 6.6
// (TCX).
func Open(l *lab.Lab, clock programs.Clock) (*Chain, error) {
	c := &Chain{lab: l, clock: clock}
	if err := c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open chain of %s: %w", l.Balancer.Name, err), c.Close())
	}
	return c, nil
}

func (c *Chain) open() error {
	var err error
	if c.programs, err = programs.Load(); err != nil {
		return err
	}
	if c.steady, err = c.frames(0, maxFlows); err != nil {
		return err
	}
	c.next = maxFlows
	if err := c.programs.SetNetworks(lab.VIP, lab.Backends, lab.Clients); err != nil {
		return err
	}
	if err := c.programs.SetOut(c.lab.Index("client:eth1"), nil6, nil6); err != nil {
		return err
	}
	attached := []string{"server:eth1", "client:eth1"}
	if err := errors.Join(c.attachXDP("server", c.programs.Sink), c.attachXDP("client", c.programs.Home)); err != nil {
		return err
	}
	name, err := c.attachFloor()
	if err != nil {
		return err
	}
	if name != "" {
		attached = append(attached, name)
	}
	return c.lab.Check(attached...)
}

var nil6 = make([]byte, 6)

// maxFlows is the most flows that are measured at once.
const maxFlows = 30_000

func (c *Chain) attachXDP(node string, p *ebpf.Program) error {
	return c.lab.Node(node).Do(func() error {
		l, err := link.AttachXDP(link.XDPOptions{Interface: c.lab.Index(node + ":eth1"), Program: p, Flags: link.XDPDriverMode})
		if err != nil {
			return fmt.Errorf("attach to %s:eth1: %w", node, err)
		}
		c.links = append(c.links, l)
		return nil
	})
}

// attachFloor attaches the redirecting program where the lab is one of the floors,
// and returns the interface that has got an XDP program.
func (c *Chain) attachFloor() (xdp string, err error) {
	name := c.lab.Balancer.Name
	if !c.lab.Balancer.IsFloor() {
		return "", nil
	}
	if c.floor, err = programs.Load(); err != nil {
		return "", err
	}
	out := c.lab.Index("lb:eth2")
	if err := c.floor.SetOut(out, c.lab.MAC("server:eth1"), c.lab.MAC("lb:eth2")); err != nil {
		return "", err
	}
	switch name {
	case lab.RedirectXDP.Name:
		return "lb:eth1", c.attachXDP("lb", c.floor.RedirectXdp)
	case lab.LineXDP.Name:
		return "lb:eth1", c.attachXDP("lb", c.floor.LineXdp)
	case lab.LookupXDP.Name:
		return "lb:eth1", errors.Join(c.floor.Remember(c.steady), c.attachXDP("lb", c.floor.LookupXdp))
	}
	return "", c.lab.Node("lb").Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{
			Interface: c.lab.Index("lb:eth1"), Program: c.floor.RedirectTc, Attach: ebpf.AttachTCXIngress,
		})
		if err != nil {
			return fmt.Errorf("attach to lb:eth1: %w", err)
		}
		c.links = append(c.links, l)
		return nil
	})
}

// Close takes off what Open has attached.
func (c *Chain) Close() error {
	var errs []error
	for _, l := range c.links {
		errs = append(errs, l.Close())
	}
	for _, p := range []*programs.Programs{c.programs, c.floor} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// Steady sends n datagrams of so many established flows in random order and
// returns nanoseconds for each. One CPU has them established and sends them: receive
// side scaling has a flow's packets on one CPU, which may remember what it needs.
func (c *Chain) Steady(ctx context.Context, flows, n int) (result.Sample, error) {
	if err := c.programs.SetStream(c.steady[:flows], programs.InTurn); err != nil {
		return result.Sample{}, err
	}
	cpu := programs.SomeCPU()
	if err := c.establish(ctx, cpu, flows); err != nil {
		return result.Sample{}, err
	}
	if err := c.programs.SetOrder(programs.Random); err != nil {
		return result.Sample{}, err
	}
	return c.send(ctx, cpu, n)
}

// Cold sends one datagram of each of n flows that nobody has seen before.
func (c *Chain) Cold(ctx context.Context, n int) (result.Sample, error) {
	frames, err := c.frames(c.next, n)
	if err != nil {
		return result.Sample{}, err
	}
	c.next += n
	if err := c.programs.SetStream(frames, programs.InTurn); err != nil {
		return result.Sample{}, err
	}
	if err := c.lab.ForgetConnections(); err != nil {
		return result.Sample{}, err
	}
	return c.send(ctx, programs.SomeCPU(), n)
}

// establish has each flow's first packet answered, and holds the chain to what it
// is to be: every datagram arrives translated, with right checksums, and its
// answer comes back from the VIP; and it was weir, at its hook, that forwarded it.
func (c *Chain) establish(ctx context.Context, cpu, flows int) error {
	before, err := c.lab.Forwarded()
	if err != nil {
		return err
	}
	if err := c.programs.SetBounce(true); err != nil {
		return err
	}
	got, _, err := c.pass(ctx, cpu, flows)
	if err := errors.Join(err, c.programs.SetBounce(false)); err != nil {
		return err
	}
	if got.Returned != got.Sent || c.arrived(got) != got.Sent {
		return fmt.Errorf("of %d datagrams of %d flows %d arrived as they should and %d answers came back (%+v)%s",
			got.Sent, flows, c.arrived(got), got.Returned, got, c.words())
	}
	sample, err := c.programs.Sample()
	if err != nil {
		return err
	}
	if err := packet.Verify(sample); err != nil {
		return fmt.Errorf("verify what arrived: %w", err)
	}
	after, err := c.lab.Forwarded()
	if err != nil {
		return err
	}
	if c.lab.Balancer.IsWeir() && after-before < got.Sent+got.Returned {
		return fmt.Errorf("weir is not in the chain: it forwarded %d packets of %d at %s", after-before, got.Sent+got.Returned, c.lab.Balancer.Hook)
	}
	return nil
}

// send measures one burst.
func (c *Chain) send(ctx context.Context, cpu, n int) (result.Sample, error) {
	got, elapsed, err := c.pass(ctx, cpu, n)
	if err != nil {
		return result.Sample{}, err
	}
	if got.Strange > 0 || got.Sent == 0 {
		return result.Sample{}, fmt.Errorf("%+v arrived%s", got, c.words())
	}
	return result.Sample{
		Value: float64(elapsed.Nanoseconds()) / float64(got.Sent), Sent: got.Sent, Lost: got.Sent - min(got.Sent, c.arrived(got)),
	}, nil
}

// pass sends n datagrams and waits until they have arrived, or no more do.
func (c *Chain) pass(ctx context.Context, cpu, n int) (programs.Tallies, time.Duration, error) {
	before, err := c.programs.Count()
	if err != nil {
		return programs.Tallies{}, 0, err
	}
	var elapsed time.Duration
	err = c.lab.Node("client").Do(func() error {
		var err error
		elapsed, err = c.clock.Send(c.programs, cpu, n)
		return err
	})
	if err != nil {
		return programs.Tallies{}, 0, err
	}
	now, err := c.settle(ctx)
	return now.Minus(before), elapsed, err
}

// quiet is for how long nothing may arrive until the rest counts as lost.
const quiet = 100 * time.Millisecond

// settle returns the tallies when they have not changed for a while.
func (c *Chain) settle(ctx context.Context) (programs.Tallies, error) {
	tick := time.NewTicker(quiet / 10)
	defer tick.Stop()
	last, err := c.programs.Count()
	since := time.Now()
	for err == nil && last.Sent != last.Translated+last.Untranslated && time.Since(since) < quiet {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-tick.C:
		}
		var now programs.Tallies
		if now, err = c.programs.Count(); now != last {
			last, since = now, time.Now()
		}
	}
	return last, err
}

// arrived is how many datagrams came to the sink as this balancer sends them.
func (c *Chain) arrived(t programs.Tallies) uint64 {
	if c.lab.Balancer.Translates {
		return t.Translated
	}
	return t.Untranslated
}

// words is what weir has to say of lost packets.
func (c *Chain) words() string {
	if !c.lab.Balancer.IsWeir() {
		return ""
	}
	counters, err := c.lab.WeirCounters(c.lab.Balancer.At())
	if err != nil {
		return ""
	}
	return "; weir has counted " + counters.String()
}
