package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/topo/spec"
)

// programWeir gives weir the services by its API and waits until it serves them
// where it was told to.
func (l *Lab) programWeir(ctx context.Context, all []spec.Service) error {
	return l.Program(ctx, weirServices(all))
}

func weirServices(all []spec.Service) []v1.Service {
	out := make([]v1.Service, 0, len(all))
	for _, s := range all {
		w := v1.Service{
			Name: s.Name, Mode: v1.ModeFullNAT,
			Frontend: v1.Frontend{VIP: s.VIP, Port: uint16(s.Port), Protocol: v1.Protocol(s.Protocol)},
		}
		for _, e := range s.Endpoints {
			w.Backends = append(w.Backends, v1.Backend{Address: e.Addr(), Port: e.Port()})
		}
		out = append(out, w)
	}
	return out
}

// Program makes these services all that weir serves and waits until it does, at
// the hook of the lab, with this node as the active one of every VIP.
func (l *Lab) Program(ctx context.Context, all []v1.Service) error {
	c, err := client.New(client.Options{Node: l.Balancer.Name, Socket: filepath.Join(l.Node("lb").Dir(), "weir.sock"), Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer c.Close()
	l.sequence++
	state := v1.NodeState{Generation: v1.Generation{Sequence: l.sequence}, Services: all}
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s.VIP.String()] {
			seen[s.VIP.String()] = true
			state.Roles = append(state.Roles, v1.Role{VIP: s.VIP, Nodes: 1})
		}
	}
	if _, err := c.PutState(ctx, "bench", state); err != nil {
		return err
	}
	return poll(ctx, 2*time.Minute, func() error { return l.serves(ctx, c) })
}

// serves says what of the wish is not in force.
func (l *Lab) serves(ctx context.Context, c *client.Client) error {
	o, err := c.Observed(ctx)
	if err != nil {
		return err
	}
	at := 0
	for _, i := range o.Interfaces {
		if i.Hook == l.Balancer.Hook {
			at++
		}
	}
	if at != 2 {
		return fmt.Errorf("weir is at %s on %d of 2 interfaces: %+v", l.Balancer.Hook, at, o.Interfaces)
	}
	for _, w := range o.Owners {
		if w.Applied != w.Desired {
			return fmt.Errorf("weir has applied generation %s of %s: %s", w.Applied, w.Desired, w.Error)
		}
	}
	for _, s := range o.Services {
		if !s.Programmed {
			return fmt.Errorf("weir does not serve %s: %v", s.Frontend, s.Conditions)
		}
	}
	return nil
}

// WeirProgram returns the program that weir has attached to eth1 of the node lb at
// the hook: the one that runs, not a copy. The caller closes it.
func (l *Lab) WeirProgram(hook bpf.Hook) (*ebpf.Program, error) {
	name, err := l.pin("links", hook.String()+"-"+strconv.Itoa(l.Index("lb:eth1")))
	if err != nil {
		return nil, err
	}
	pinned, err := link.LoadPinnedLink(name, nil)
	if err != nil {
		return nil, fmt.Errorf("find weir's program at %s: %w", hook, err)
	}
	defer pinned.Close()
	info, err := pinned.Info()
	if err != nil {
		return nil, fmt.Errorf("find weir's program at %s: %w", hook, err)
	}
	p, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, fmt.Errorf("open weir's program at %s: %w", hook, err)
	}
	return p, nil
}

// Counters are what weir has counted at one hook.
type Counters map[bpf.Counter]uint64

// String lists those that are not zero.
func (c Counters) String() string {
	var s string
	for _, counter := range bpf.Counters() {
		if c[counter] > 0 {
			s += fmt.Sprintf("%s %d ", counter, c[counter])
		}
	}
	return s
}

// Minus is what was counted since earlier.
func (c Counters) Minus(earlier Counters) Counters {
	out := Counters{}
	for counter, n := range c {
		out[counter] = n - earlier[counter]
	}
	return out
}

// WeirCounters reads weir's own counters.
func (l *Lab) WeirCounters(hook bpf.Hook) (Counters, error) {
	name, err := l.pin("maps", bpf.MapCounters)
	if err != nil {
		return nil, err
	}
	m, err := ebpf.LoadPinnedMap(name, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open weir's counters: %w", err)
	}
	defer m.Close()
	out := Counters{}
	for _, c := range bpf.Counters() {
		var each []uint64
		if err := m.Lookup(c.Index(hook), &each); err != nil {
			return nil, fmt.Errorf("read weir's counters: %w", err)
		}
		for _, n := range each {
			out[c] += n
		}
	}
	return out, nil
}

// Forwarded is how many packets weir has forwarded at the lab's hook, zero where
// there is no weir.
func (l *Lab) Forwarded() (uint64, error) {
	if !l.Balancer.IsWeir() {
		return 0, nil
	}
	counters, err := l.WeirCounters(l.Balancer.At())
	return counters[bpf.CounterForwarded], err
}

// poll calls f until it has nothing to say, or limit is over: its last word is the
// error then.
func poll(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}
