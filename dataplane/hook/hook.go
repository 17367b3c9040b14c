// Package hook attaches the programs to the node's interfaces and keeps them
// attached while interfaces appear, change their names and vanish. What is
// not ours is never touched.
package hook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/pin"
	"github.com/weir-lb/weir/dataplane/rtnl"
)

// interval is the least time between two looks at all interfaces.
const interval = 100 * time.Millisecond

// Devices is told of every interface of the node. *maps.Maps is the real one.
type Devices interface {
	PutDevice(index int, d maps.Device) error
	DeleteDevice(index int) error
}

// Options for New.
type Options struct {
	// TC is attached at the ingress of every interface that is used. Required.
	TC *ebpf.Program
	// XDP is attached too where Choice says so. Required unless Choice is TC.
	XDP *ebpf.Program
	// Egress is attached at the egress of every interface that is used.
	// Optional; nil takes off what an earlier run has left there.
	Egress *ebpf.Program
	// Choice is optional, zero means Auto.
	Choice Choice
	Filter Filter
	// Devices gets every interface with its index. Required.
	Devices Devices
	// WithoutTCX attaches TC by clsact filters, as a kernel before 6.6 has it.
	WithoutTCX bool
	// Pins keeps what is attached beyond this process, for the next to adopt.
	// Optional; without it everything ends with this process.
	Pins *pin.Folder
}

// Hooks are the attachments of one network namespace: that of the process.
// Safe for concurrent use.
type Hooks struct {
	options Options

	mu     sync.Mutex
	closed bool
	hooked map[int]*hooked
	own    map[netip.Addr]bool // Addresses
	// tcx is true until the kernel has refused a TCX link.
	tcx     bool
	qdiscs  qdiscs
	changed chan struct{}
}

// hooked is one interface as it was seen last.
type hooked struct {
	decided    decision
	attachment attachment
	device     maps.Device
	status     v1.Interface
}

// New looks at all interfaces and attaches, taking over what an earlier run
// has left. When an interface refuses, its status says why and the others go
// on. The error is for when the interfaces
// cannot be listed at all.
func New(o Options) (*Hooks, error) {
	if o.Choice == "" {
		o.Choice = Auto
	}
	h := &Hooks{options: o, tcx: !o.WithoutTCX, qdiscs: qdiscs{pins: o.Pins}, hooked: map[int]*hooked{}, changed: make(chan struct{}, 1)}
	if err := h.Sync(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := h.dropUnused(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Changed receives when a program was attached or detached, or Addresses differs.
func (h *Hooks) Changed() <-chan struct{} { return h.changed }

// Serves says whether packets that come in by an interface are seen, SeesEgress
// whether those that leave by it are.
func (h *Hooks) Serves(index int) bool {
	return h.has(index, func(a attachment) bool { return a.tc != nil })
}

// SeesEgress is documented with Serves.
func (h *Hooks) SeesEgress(index int) bool {
	return h.has(index, func(a attachment) bool { return a.egress != nil })
}

func (h *Hooks) has(index int, what func(attachment) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	have := h.hooked[index]
	return have != nil && what(have.attachment)
}

// Run keeps the hooks in step with the interfaces until ctx ends.
func (h *Hooks) Run(ctx context.Context) error {
	listener, err := rtnl.Listen(rtnl.Links | rtnl.Addresses)
	if err != nil {
		return fmt.Errorf("follow interfaces: %w", err)
	}
	defer listener.Close()
	if err := h.Sync(); err != nil { // what changed before Listen
		return err
	}
	return listener.Follow(ctx, interval, 0, func(context.Context, rtnl.Kind) error { return h.Sync() })
}

// Sync looks at all interfaces once and attaches or detaches what has to be.
func (h *Hooks) Sync() error {
	links, err := netlink.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil // the next event brings the rest
	}
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	addresses, err := addressesByLink()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	present := map[int]bool{}
	for _, l := range links {
		present[l.Attrs().Index] = true
		h.syncLink(l, addresses[l.Attrs().Index])
	}
	for index, gone := range h.hooked {
		if !present[index] {
			_ = gone.attachment.detach() // went with the interface
			_ = h.options.Devices.DeleteDevice(index)
			delete(h.hooked, index)
		}
	}
	h.noteOwn(links, addresses)
	return nil
}

// tell has Changed receive.
func (h *Hooks) tell() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// syncLink brings one interface to what is decided for it. An attachment that
// failed is tried again with the next change of any interface.
func (h *Hooks) syncLink(l netlink.Link, addresses []netip.Addr) {
	attrs := l.Attrs()
	have := h.hooked[attrs.Index]
	if have == nil {
		have = &hooked{}
		h.hooked[attrs.Index] = have
	}
	n := h.describe(l, have)
	want := decide(n, h.options.Choice, h.options.Filter)
	want.egress = want.tc && h.options.Egress != nil
	if have.decided != want || !have.complete() {
		have.decided = want
		before := have.attachment
		h.attach(have, attrs.Index)
		if have.attachment != before {
			h.tell()
		}
	}
	have.status.Name, have.status.Index, have.status.MTU = attrs.Name, attrs.Index, attrs.MTU
	have.status.Egress = have.attachment.egress != nil
	device := deviceOf(l, have.attachment)
	if len(addresses) > 0 {
		device.Address = addresses[0]
	}
	if device == have.device {
		return
	}
	if err := h.options.Devices.PutDevice(attrs.Index, device); err != nil {
		have.status.Reason = err.Error()
		return
	}
	have.device = device
}

// complete says that everything decided is attached.
func (h *hooked) complete() bool {
	return h.decided.tc == (h.attachment.tc != nil) && h.decided.xdp == (h.attachment.xdp != nil) &&
		h.decided.egress == (h.attachment.egress != nil)
}

// attach changes only what differs, so that a new name costs no packet.
func (h *Hooks) attach(have *hooked, index int) {
	want := have.decided
	var failed []string
	try := func(have *attached, wanted bool, attach func() (attached, error), sweep func() error) {
		var err error
		switch {
		case wanted && *have == nil:
			*have, err = attach()
		case !wanted && *have != nil:
			err = (*have).detach()
			*have = nil
		case !wanted:
			err = sweep()
		}
		if err != nil {
			failed = append(failed, err.Error())
		}
	}
	try(&have.attachment.egress, want.egress, func() (attached, error) { return h.attachTC(egress, h.options.Egress, index) },
		func() error { return h.sweep(egress, index) })
	try(&have.attachment.tc, want.tc, func() (attached, error) { return h.attachTC(ingress, h.options.TC, index) },
		func() error { return h.sweep(ingress, index) })
	try(&have.attachment.xdp, want.xdp, func() (attached, error) {
		return h.adoptOr(pinXDP, index, h.options.XDP, attachXDP)
	}, func() error { return nil }) // a link, which dropUnused knows by its pin
	have.status.Hook, have.status.Reason = "none", want.reason
	switch {
	case have.attachment.xdp != nil:
		have.status.Hook = "xdp"
	case have.attachment.tc != nil:
		have.status.Hook = "tc"
	}
	if len(failed) > 0 {
		have.status.Reason = strings.Join(failed, "; ")
	}
}

// attachTC takes TCX where the kernel has it. A filter that an earlier run left
// goes after that: until then it served.
func (h *Hooks) attachTC(at side, p *ebpf.Program, index int) (attached, error) {
	if h.tcx {
		l, err := h.adoptOr(at.pin, index, p, at.attachTCX)
		if err == nil {
			return l, h.sweep(at, index)
		}
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return nil, err
		}
		h.tcx = false
	}
	return clsact{at, &h.qdiscs}.attach(p, index)
}

// sweep removes a filter that an earlier run has left at this side: nothing but
// its name tells of it, so it outlives the links' pins.
func (h *Hooks) sweep(at side, index int) error { return clsact{at, &h.qdiscs}.sweep(index) }

// describe gathers what the choice depends on. The driver is asked for once.
func (h *Hooks) describe(l netlink.Link, have *hooked) netif {
	attrs := l.Attrs()
	n := netif{
		name:     attrs.Name,
		loopback: attrs.Flags&net.FlagLoopback != 0,
		ethernet: attrs.EncapType == "ether",
		driver:   l.Type(),
	}
	if n.driver == "device" { // no rtnl kind: a physical device
		n.driver = driverOf(attrs.Name)
	}
	if attrs.Xdp != nil && attrs.Xdp.Attached && have.attachment.xdp == nil {
		if n.foreignXDP = attrs.Xdp.ProgId; n.foreignXDP == h.ownXDP(attrs.Index) {
			n.foreignXDP = 0
		}
	}
	return n
}

// deviceOf is what the programs learn of an interface. Frames that XDP sends
// arrive where our own XDP program runs in the driver: that it is attached
// there is what many drivers need to transmit at all.
func deviceOf(l netlink.Link, a attachment) maps.Device {
	attrs := l.Attrs()
	d := maps.Device{MTU: attrs.MTU, TransmitsXDP: a.xdp != nil, RedirectOnly: l.Type() == "veth", SeesEgress: a.egress != nil}
	if len(attrs.HardwareAddr) == len(d.MAC) {
		copy(d.MAC[:], attrs.HardwareAddr)
	}
	return d
}

// Interfaces returns all interfaces by index.
func (h *Hooks) Interfaces() []v1.Interface {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]v1.Interface, 0, len(h.hooked))
	for _, have := range h.hooked {
		all = append(all, have.status)
	}
	slices.SortFunc(all, func(a, b v1.Interface) int { return a.Index - b.Index })
	return all
}

// Close ends the work. With pins everything stays attached, for the next run;
// without, it is detached.
func (h *Hooks) Close() error { return h.end("let go of", attachment.release) }

// Detach is Close that leaves nothing attached.
func (h *Hooks) Detach() error { return h.end("detach from", attachment.detach) }

func (h *Hooks) end(verb string, end func(attachment) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	var errs []error
	for index, have := range h.hooked {
		if err := end(have.attachment); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", verb, have.status.Name, err))
		}
		delete(h.hooked, index)
	}
	return errors.Join(errs...)
}
