package uplink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/dataplane/rtnl"
)

const (
	// interval is the least time between two looks at the routes.
	interval = 100 * time.Millisecond
	// retry is how often a route that could not be written is tried again.
	retry = time.Second
)

// Keeper keeps the routes of the VIPs that Watch names. Safe for concurrent use.
type Keeper struct {
	kernel  kernel
	wanted  func(index int) bool
	changed chan struct{}

	mu sync.Mutex
	// told is true from the first Watch on: before that the routes of an earlier
	// run stay as they are.
	told bool
	vips map[netip.Addr][]Way
	// failed says why a VIP has no route.
	failed map[netip.Addr]error
}

// New returns a Keeper that has touched nothing. wanted tells, by index, the
// interfaces that have the egress program. The caller closes it.
func New(wanted func(index int) bool) (*Keeper, error) {
	k, err := newKernel()
	if err != nil {
		return nil, err
	}
	return &Keeper{kernel: k, wanted: wanted, changed: make(chan struct{}, 1)}, nil
}

// Watch makes vips all that have a route, each with the ways to its backends,
// and returns why some have none.
func (k *Keeper) Watch(vips map[netip.Addr][]Way) map[netip.Addr]error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told, k.vips = true, vips
	k.sync()
	return maps.Clone(k.failed)
}

// Changed receives when Failed differs from before.
func (k *Keeper) Changed() <-chan struct{} { return k.changed }

// Failed says why VIPs have no route.
func (k *Keeper) Failed() map[netip.Addr]error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.failed)
}

// Run keeps the routes in step with interfaces and addresses until ctx ends. It
// puts back what somebody took away: with an interface that goes down its routes
// and neighbours go too.
func (k *Keeper) Run(ctx context.Context) error {
	listener, err := rtnl.Listen(rtnl.All)
	if err != nil {
		return fmt.Errorf("follow uplinks: %w", err)
	}
	defer listener.Close()
	k.look(rtnl.All) // what changed before Listen
	return listener.Follow(ctx, interval, retry, func(_ context.Context, kind rtnl.Kind) error {
		k.look(kind)
		return nil
	})
}

// look takes in what may have changed; no kind is the tick.
func (k *Keeper) look(kind rtnl.Kind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kind == 0 && len(k.failed) == 0 {
		return
	}
	was := k.failed
	k.sync()
	if !maps.EqualFunc(was, k.failed, func(a, b error) bool { return a.Error() == b.Error() }) {
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
}

// sync brings the kernel to what Watch was told. The caller holds the lock.
func (k *Keeper) sync() {
	if !k.told {
		return
	}
	k.failed = map[netip.Addr]error{}
	ports, err := k.kernel.ports(k.wanted)
	var have map[netip.Addr]entry
	if err == nil {
		have, err = k.kernel.routes()
	}
	if err != nil {
		for vip := range k.vips {
			k.failed[vip] = err
		}
		return
	}
	for vip, e := range have {
		if _, stays := k.vips[vip]; !stays {
			_ = k.kernel.remove(vip, e.device) // looked at again with the next change
		}
	}
	for vip, ways := range k.vips {
		if err := k.one(vip, ways, ports, have); err != nil {
			k.failed[vip] = err
		}
	}
}

func (k *Keeper) one(vip netip.Addr, ways []Way, ports []Port, have map[netip.Addr]entry) error {
	want, ok := Choose(ways, ports)
	old, exists := have[vip]
	if !ok {
		err := errors.New("no interface with the egress program has an IPv4 address; give one an address, or use it by --whitelist")
		if exists {
			err = errors.Join(err, k.kernel.remove(vip, old.device))
		}
		return err
	}
	if exists && old == (entry{want.Port.Index, want.Source, true}) {
		return nil
	}
	if exists {
		if err := k.kernel.remove(vip, old.device); err != nil {
			return err
		}
	}
	return k.kernel.put(vip, want)
}

// Close lets go of the kernel. The routes stay, for the next run to adopt.
func (k *Keeper) Close() error {
	k.kernel.handle.Close()
	return nil
}

// Clear removes all routes; the keeper writes none any more.
func (k *Keeper) Clear() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = false
	return k.kernel.clear()
}

// Clean removes what an earlier run has left, when no Keeper is at work.
func Clean() error {
	k, err := newKernel()
	if err != nil {
		return err
	}
	defer k.handle.Close()
	return k.clear()
}

func (k kernel) clear() error {
	have, err := k.routes()
	if err != nil {
		return err
	}
	var errs []error
	for vip, e := range have {
		errs = append(errs, k.remove(vip, e.device))
	}
	return errors.Join(errs...)
}
