package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/dataplane/rtnl"
)

const (
	// interval is the least time between two looks at all devices.
	interval = 100 * time.Millisecond
	// recheck finds settings that somebody else has written: no event tells.
	recheck = 5 * time.Second
)

// Change is a filter that was loosened, or could not be.
type Change struct {
	Device string
	Was    Filter
	// Err is why it is as it was; nil if it is loose now.
	Err error
	// Unnoted is why a later run would not restore it.
	Unnoted error
}

// Loosener keeps the filters of overlay devices loose where they are strict,
// those of devices that appear later too. It touches nothing else, and a filter
// that is off or loose already neither. Not safe for concurrent use.
type Loosener struct {
	notes  *notes
	tell   func(Change)
	failed map[string]bool
}

// NewLoosener keeps what settings were in dir, for a later run to restore;
// without dir it remembers them for as long as it lives. tell is called for
// each change, and once for a device that refuses.
func NewLoosener(dir string, tell func(Change)) (*Loosener, error) {
	n, err := openNotes(dir)
	if err != nil {
		return nil, err
	}
	return &Loosener{notes: n, tell: tell, failed: map[string]bool{}}, nil
}

// Run follows the devices of the process's network namespace until ctx ends.
func (l *Loosener) Run(ctx context.Context) error {
	listener, err := rtnl.Listen(rtnl.Links)
	if err != nil {
		return fmt.Errorf("follow overlay devices: %w", err)
	}
	defer listener.Close()
	if err := l.sync(); err != nil { // what changed before Listen
		return err
	}
	return listener.Follow(ctx, interval, recheck, func(context.Context, rtnl.Kind) error { return l.sync() })
}

// sync loosens what is strict now.
func (l *Loosener) sync() error {
	_ = l.notes.save() // told when it failed first
	devices, err := list()
	if err != nil {
		return err
	}
	for _, d := range devices {
		name := d.Attrs().Name
		filter, err := ReadFilter(name)
		if err != nil || !filter.Strict() {
			continue // a device that went meanwhile, or nothing to do
		}
		// Noted first: after a crash between the two a restore changes nothing. A
		// disk that is full costs the note, not the traffic.
		unnoted := l.notes.add(name, filter.Own)
		err = setFilter(d.Attrs().Index, loose)
		if err == nil || !l.failed[name] {
			l.tell(Change{Device: name, Was: filter, Err: err, Unnoted: unnoted})
		}
		l.failed[name] = err != nil
	}
	return nil
}

// Restore puts the settings back that Run, or an earlier run, has changed, where
// nobody has changed them since. Call it when Run has ended.
func (l *Loosener) Restore() error {
	var errs []error
	for name, own := range l.notes.settings {
		device, err := netlink.LinkByName(name)
		if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("restore reverse path filter of %s: %w", name, err))
			continue
		}
		if now, err := readSetting(name); err != nil || now != loose {
			continue
		}
		if err := setFilter(device.Attrs().Index, own); err != nil {
			errs = append(errs, fmt.Errorf("restore %s: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return l.notes.remove()
}

// list returns the overlay devices that are up.
func list() ([]netlink.Link, error) {
	links, err := netlink.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil // the next event brings the rest
	}
	if err != nil {
		return nil, fmt.Errorf("list overlay devices: %w", err)
	}
	var overlays []netlink.Link
	for _, l := range links {
		if Is(l) && l.Attrs().Flags&net.FlagUp != 0 {
			overlays = append(overlays, l)
		}
	}
	return overlays, nil
}
