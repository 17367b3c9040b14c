package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/netns"
)

// RouteWatch hears of each change of a machine's routes. It is not safe for concurrent use. End it.
type RouteWatch struct {
	machine Machine
	ns      *netns.NetNS
	heard   chan netlink.RouteUpdate
	broken  chan error
	done    chan struct{}
}

// endMetric is that of the route, less wanted than any other, by which End knows that it has heard all before it.
const endMetric = 4_000_000_001

// WatchRoutes begins to listen to a machine's kernel.
func (m Machine) WatchRoutes(ctx context.Context) (*RouteWatch, error) {
	ns, err := namespace(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	w := &RouteWatch{machine: m, ns: ns, heard: make(chan netlink.RouteUpdate, 1<<16), broken: make(chan error, 1), done: make(chan struct{})}
	err = ns.Do(func() error {
		return netlink.RouteSubscribeWithOptions(w.heard, w.done, netlink.RouteSubscribeOptions{ErrorCallback: func(err error) {
			select {
			case w.broken <- err:
			default: // the first one says it
			}
		}})
	})
	if err != nil {
		return nil, fmt.Errorf("listen to routes of %s: %w", m.Name, errors.Join(err, ns.Close()))
	}
	return w, nil
}

// End ends the listening and returns what came of routes within a prefix, a line each. It is an error if the kernel had more to
// say than was heard.
func (w *RouteWatch) End(ctx context.Context, within netip.Prefix) (changes []string, err error) {
	defer func() {
		close(w.done)
		err = errors.Join(err, w.ns.Close())
		if err != nil {
			err = fmt.Errorf("listen to routes of %s: %w", w.machine.Name, err)
		}
	}()
	last := &netlink.Route{Type: unix.RTN_BLACKHOLE, Priority: endMetric, Dst: &net.IPNet{IP: within.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}}
	if err := w.ns.Do(func() error { return errors.Join(netlink.RouteAdd(last), netlink.RouteDel(last)) }); err != nil {
		return nil, err
	}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-w.broken:
			return nil, err
		case u := <-w.heard:
			if u.Priority == endMetric {
				return changes, nil
			}
			if u.Dst == nil {
				continue
			}
			if to, ok := netip.AddrFromSlice(u.Dst.IP); ok && within.Contains(to.Unmap()) {
				changes = append(changes, fmt.Sprintf("%s: %s", map[uint16]string{unix.RTM_NEWROUTE: "new", unix.RTM_DELROUTE: "gone"}[u.Type], u.Route))
			}
		}
	}
}
