package hook

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Our filters are known by name (side), handle and priority together. Priority 1 is
// what CNIs and other load balancers take; they may replace theirs whenever
// they like.
const (
	filterHandle   = 0x77656972 // "weir"
	filterPriority = 2
)

// clsact attaches TC filters by netlink, for kernels without TCX. A filter
// stays when the process ends; the next attach replaces its program in place,
// and sweep removes it.
type clsact struct {
	side
	*qdiscs
}

// attach puts the program at this side of an interface, behind filters of
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
	if !made && c.parent == egress.parent {
		if err := hasEgress(index); err != nil {
			return nil, err
		}
	}
	f := &filter{c, index}
	if made {
		if err := c.mark(index, p); err != nil {
			return nil, errors.Join(err, f.removeQdisc())
		}
	}
	bpf := f.netlink()
	bpf.Fd, bpf.DirectAction = p.FD(), true
	if err := netlink.FilterReplace(bpf); err != nil {
		return nil, errors.Join(fmt.Errorf("attach TC %s filter: %w", c.name, err), f.removeQdisc())
	}
	return f, nil
}

// hasEgress refuses a qdisc of the older kind "ingress", which has the handle of
// clsact: the kernel would take an egress filter and run it at ingress.
func hasEgress(index int) error {
	qdiscs, err := netlink.QdiscList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if err != nil {
		return fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		if q.Type() == "ingress" {
			return errors.New("attach TC egress filter: somebody's ingress qdisc takes the place of clsact; replace it (tc qdisc del dev IFACE ingress; tc qdisc add dev IFACE clsact)")
		}
	}
	return nil
}

// filter is ours at one side of an interface.
type filter struct {
	clsact
	index int
}

func (f *filter) netlink() *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: f.index, Parent: f.parent,
			Handle: filterHandle, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Name: f.filter,
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
	if ours, err := f.marked(f.index); err != nil || !ours {
		return err
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
	return f.unmark(f.index)
}

// sweep removes a filter that an earlier process left at this side, and the qdisc
// if it is ours and empty then. Success without one.
func (c clsact) sweep(index int) error {
	filters, err := filtersAt(index, c.parent)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list TC filters: %w", err)
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && c.ours(b) {
			return (&filter{c, index}).detach()
		}
	}
	return nil
}

// ours says that weir has made the filter, this process or an earlier one.
func (s side) ours(b *netlink.BpfFilter) bool {
	return b.Name == s.filter && b.Handle == filterHandle && b.Priority == filterPriority
}

func filtersAt(index int, parent uint32) ([]netlink.Filter, error) {
	return netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, parent)
}

// gone says that the interface, the qdisc or the filter does not exist.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}
