package hook

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/dataplane/pin"
)

// Pins are named by kind and interface index: names of interfaces change. An
// index is not used again before 2^31 others were, and a link whose interface
// is gone says so.
const (
	pinTC     = "tc-"
	pinEgress = "egress-"
	pinXDP    = "xdp-"
	pinQdisc  = "qdisc-" // a mark: the interface's clsact qdisc is ours
)

func pinName(kind string, index int) string { return kind + strconv.Itoa(index) }

// kernelLink is a program on an interface by a BPF link. Without a pin the link
// goes with this process.
type kernelLink struct {
	link.Link

	pins *pin.Folder // nil where it is not pinned
	name string
}

// detach does not leave it to the last reference to go: a pin lets go of its
// link some time after it was removed.
func (l kernelLink) detach() error {
	if l.pins == nil {
		return l.Close()
	}
	if err := l.Detach(); err != nil && hangsOn(l) != 0 {
		return errors.Join(fmt.Errorf("detach %s: %w", l.name, err), l.Close())
	}
	return errors.Join(l.pins.Unpin(l.name), l.Close())
}

func (l kernelLink) release() error { return l.Close() }

// adoptOr puts p in the place of the program of a link that an earlier run has
// pinned, in one step: no packet passes without a program. Where there is no
// such link, or it is of no use, attach makes one, which is pinned.
func (h *Hooks) adoptOr(kind string, index int, p *ebpf.Program, attach func(*ebpf.Program, int) (link.Link, error)) (attached, error) {
	name := pinName(kind, index)
	if h.options.Pins == nil {
		l, err := attach(p, index)
		if err != nil {
			return nil, err
		}
		return kernelLink{Link: l}, nil
	}
	if old, err := h.options.Pins.Link(name); err != nil {
		return nil, err
	} else if old != nil {
		pinned := kernelLink{old, h.options.Pins, name}
		if hangsOn(old) == index && old.Update(p) == nil {
			return pinned, nil
		}
		if err := pinned.detach(); err != nil {
			return nil, err
		}
	}
	l, err := attach(p, index)
	if err != nil {
		return nil, err
	}
	if err := h.options.Pins.PinLink(name, l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return kernelLink{l, h.options.Pins, name}, nil
}

// hangsOn is the index of the link's interface, zero when that is gone.
func hangsOn(l link.Link) int {
	info, err := l.Info()
	if err != nil {
		return 0
	}
	if tcx := info.TCX(); tcx != nil {
		return int(tcx.Ifindex)
	}
	if xdp := info.XDP(); xdp != nil {
		return int(xdp.Ifindex)
	}
	return 0
}

// ownXDP is the program that an earlier run's link has in the driver of the
// interface, zero for none.
func (h *Hooks) ownXDP(index int) uint32 {
	if h.options.Pins == nil {
		return 0
	}
	l, err := h.options.Pins.Link(pinName(pinXDP, index))
	if err != nil || l == nil {
		return 0
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0
	}
	return uint32(info.Program)
}

// dropUnused takes off what an earlier run has left where nothing is wanted
// any more: on interfaces that are gone, or to be left alone now.
func (h *Hooks) dropUnused() error {
	if h.options.Pins == nil {
		return nil
	}
	names, err := h.options.Pins.Names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		kind, number, _ := strings.Cut(name, "-")
		index, err := strconv.Atoi(number)
		if err != nil {
			continue // not one of ours
		}
		if have := h.hooked[index]; have != nil && have.uses(kind+"-") {
			continue
		}
		errs = append(errs, dropPinned(h.options.Pins, kind+"-", index))
	}
	return errors.Join(errs...)
}

// uses says that the pin's link hangs on the interface, and is to.
func (h *hooked) uses(kind string) bool {
	switch kind {
	case pinTC:
		_, byLink := h.attachment.tc.(kernelLink)
		return byLink
	case pinEgress:
		_, byLink := h.attachment.egress.(kernelLink)
		return byLink
	case pinXDP:
		return h.attachment.xdp != nil
	case pinQdisc:
		_, byFilter := h.attachment.tc.(*filter)
		return byFilter
	}
	return false
}

// dropPinned takes off one program, by its pin.
func dropPinned(pins *pin.Folder, kind string, index int) error {
	if kind == pinQdisc {
		return dropFilters(pins, index)
	}
	name := pinName(kind, index)
	l, err := pins.Link(name)
	if err != nil || l == nil {
		return err
	}
	return kernelLink{l, pins, name}.detach()
}

// dropFilters takes off the filters of both sides and the qdisc, which is ours.
func dropFilters(pins *pin.Folder, index int) error {
	q := &qdiscs{pins: pins}
	return errors.Join((&filter{clsact{egress, q}, index}).detach(), (&filter{clsact{ingress, q}, index}).detach())
}

// Clean takes off all that an earlier run has left, when no Hooks are at work:
// what these pins tell of, and filters on any interface. Without pins (nil) only
// the latter.
func Clean(pins *pin.Folder) error {
	h := &Hooks{options: Options{Pins: pins}, qdiscs: qdiscs{pins: pins}}
	if err := errors.Join(h.dropUnused(), h.sweepAll()); err != nil {
		return fmt.Errorf("detach what an earlier run left: %w", err)
	}
	return nil
}

// sweepAll sweeps both sides of every interface.
func (h *Hooks) sweepAll() error {
	links, err := netlink.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, l := range links {
		errs = append(errs, h.sweep(egress, l.Attrs().Index), h.sweep(ingress, l.Attrs().Index))
	}
	return errors.Join(errs...)
}
