package hook

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane/pin"
)

// Our filter is known by name, handle and priority together. Priority 1 is
// what CNIs and other load balancers take; they may replace theirs whenever
// they like.
const (
	filterName     = "weir_tc"
	filterHandle   = 0x77656972 // "weir"
	filterPriority = 2
)

// clsact attaches TC filters by netlink, for kernels without TCX. A filter
// stays when the process ends; the next attach replaces its program in place,
// and sweep removes it. Qdiscs that were made are marked in pins, which may be
// nil: an empty one does nothing.
type clsact struct{ pins *pin.Folder }

// attach puts the program at the ingress of an interface, behind filters of
// priority 1. Foreign filters and their qdisc stay.
func (c clsact) attach(p *ebpf.Program, index int) (attached, error) {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	err := netlink.QdiscAdd(qdisc)
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add clsact qdisc: %w", err)
	}
	f := &filter{index: index, made: made, pins: c.pins}
	if made {
		err = f.mark(p)
	} else {
		f.made, err = f.marked()
	}
	if err != nil {
		return nil, errors.Join(err, f.removeQdisc())
	}
	bpf := f.netlink()
	bpf.Fd, bpf.DirectAction = p.FD(), true
	if err := netlink.FilterReplace(bpf); err != nil {
		return nil, errors.Join(fmt.Errorf("attach TC filter: %w", err), f.removeQdisc())
	}
	return f, nil
}

// filter is ours on one interface.
type filter struct {
	index int
	made  bool // the qdisc is ours too
	pins  *pin.Folder
}

// mark remembers over restarts that the qdisc is ours.
func (f *filter) mark(p *ebpf.Program) error {
	if f.pins == nil {
		return nil
	}
	return f.pins.Mark(pinName(pinQdisc, f.index), p)
}

func (f *filter) marked() (bool, error) {
	if f.pins == nil {
		return false, nil
	}
	names, err := f.pins.Names()
	return slices.Contains(names, pinName(pinQdisc, f.index)), err
}

func (f *filter) netlink() *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: f.index, Parent: netlink.HANDLE_MIN_INGRESS,
			Handle: filterHandle, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Name: filterName,
	}
}

// release leaves the filter to the next run if that can find it by pins; else
// nobody would ever remove it.
func (f *filter) release() error {
	if f.pins == nil {
		return f.detach()
	}
	return nil
}

// detach removes the filter, and the qdisc if it is ours and empty. Success
// when the interface or the filter is gone.
func (f *filter) detach() error {
	if err := netlink.FilterDel(f.netlink()); err != nil && !gone(err) {
		return fmt.Errorf("remove TC filter: %w", err)
	}
	return f.removeQdisc()
}

func (f *filter) removeQdisc() error {
	if !f.made {
		return nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := filtersAt(f.index, parent)
		if err != nil && !gone(err) {
			return fmt.Errorf("list TC filters: %w", err)
		}
		if len(filters) > 0 {
			return nil
		}
	}
	err := netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: f.index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if err != nil && !gone(err) {
		return fmt.Errorf("remove clsact qdisc: %w", err)
	}
	return f.unmark()
}

func (f *filter) unmark() error {
	if f.pins == nil {
		return nil
	}
	return f.pins.Unpin(pinName(pinQdisc, f.index))
}

// sweep removes a filter that an earlier process left on the interface. The
// qdisc stays: dropUnused removes it where a mark says that it is ours.
func sweep(index int) error {
	filters, err := filtersAt(index, netlink.HANDLE_MIN_INGRESS)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list TC filters: %w", err)
	}
	for _, f := range filters {
		b, ok := f.(*netlink.BpfFilter)
		if ok && b.Name == filterName && b.Handle == filterHandle && b.Priority == filterPriority {
			return (&filter{index: index}).detach()
		}
	}
	return nil
}

func filtersAt(index int, parent uint32) ([]netlink.Filter, error) {
	return netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, parent)
}

// gone says that the interface, the qdisc or the filter does not exist.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}
