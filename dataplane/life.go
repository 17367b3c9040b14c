package dataplane

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-lb/weir/dataplane/hook"
	"github.com/weir-lb/weir/dataplane/pin"
	"github.com/weir-lb/weir/dataplane/plan"
	"github.com/weir-lb/weir/dataplane/uplink"
)

// adopt takes over what an earlier run has written to the maps: ids stay what
// flows call them by.
func (d *Dataplane) adopt() error {
	if !d.loaded.Adopted {
		return nil
	}
	steps, err := d.maps.Observe()
	if err != nil {
		return fmt.Errorf("adopt services: %w; stop for good with `weir --cleanup`, then start anew (flows end)", err)
	}
	d.state = plan.Restore(steps, time.Now())
	return nil
}

// Adopted tells that an earlier run's services and flows were taken over:
// packets were forwarded all the time.
func (d *Dataplane) Adopted() bool { return d.loaded.Adopted }

// Close ends the work of this process. With pins the programs go on forwarding
// as they were told last; without, they are detached and flows end. A second
// Close does nothing.
func (d *Dataplane) Close() error {
	d.keepVerdicts()
	var err error
	if d.pins == nil && d.uplinks != nil {
		// The programs end with the process, and nobody would take these routes' packets.
		err = d.uplinks.Clear()
	}
	return errors.Join(err, d.end(func(h *hook.Hooks) error { return h.Close() }, (*pin.Folder).Close))
}

// Stop is Close that leaves nothing on the node: programs are detached, flows
// end, pins are gone.
func (d *Dataplane) Stop() error {
	var err error
	if d.uplinks != nil {
		err = d.uplinks.Clear()
	}
	err = errors.Join(err, d.end(func(h *hook.Hooks) error { return h.Detach() }, func(f *pin.Folder) error {
		return errors.Join(f.Remove(), f.Close())
	}))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.verdicts != nil {
		err = errors.Join(err, d.verdicts.Remove())
	}
	return err
}

func (d *Dataplane) end(hooks func(*hook.Hooks) error, pins func(*pin.Folder) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	// Not a slice of io.Closer: a nil pointer in one is not nil.
	closeIf := func(opened bool, c io.Closer) {
		if opened {
			errs = append(errs, c.Close())
		}
	}
	if d.hooks != nil {
		errs = append(errs, hooks(d.hooks))
	}
	closeIf(d.keeper != nil, d.keeper)
	closeIf(d.uplinks != nil, d.uplinks)
	closeIf(d.loaded != nil, d.loaded)
	if d.pins != nil {
		errs = append(errs, pins(d.pins))
	}
	closeIf(d.ns != nil, d.ns)
	return errors.Join(errs...)
}

// Prepare has a BPF file system be where New will pin, mounted if need be, which
// takes CAP_SYS_ADMIN. New does the same, and needs none of that right after.
func Prepare(pinDir string) error { return pin.Prepare(pinDir) }

// Clean removes all that a weir has left which does not run any more: programs,
// maps and their pins, routes to VIPs. Nothing there is success; without a folder
// of pins there are only routes, and TC filters. One that runs is an error, whatever
// its folder.
func Clean(pinDir string) error {
	there, err := pinDir != "", error(nil)
	if there {
		there, err = pin.Exists(pinDir)
	}
	if err != nil {
		return err
	}
	ns, err := claim()
	if err != nil {
		return err
	}
	return errors.Join(clean(pinDir, there), ns.Close())
}

func clean(pinDir string, there bool) error {
	if !there {
		return errors.Join(uplink.Clean(), hook.Clean(nil))
	}
	// The folder first: a weir that runs elsewhere may have it, and keeps its routes.
	pins, err := pin.Take(pinDir)
	if err != nil {
		return err
	}
	layouts, err := pins.Layouts()
	err = errors.Join(err, uplink.Clean(), hook.Clean(pins))
	for _, one := range layouts {
		err = errors.Join(err, hook.Clean(one))
	}
	return errors.Join(err, pins.Remove(), pins.Close())
}
