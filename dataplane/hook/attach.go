package hook

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// side is one of the two TC hooks of an interface.
type side struct {
	name   string
	attach ebpf.AttachType
	// parent and filter are those of a clsact filter.
	parent uint32
	filter string
	pin    string
}

var (
	ingress = side{"ingress", ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS, "weir_tc", pinTC}
	egress  = side{"egress", ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS, "weir_egress", pinEgress}
)

// attachTCX puts the program before all others at this side of an interface;
// foreign programs stay. Requires at least Linux 6.6.
func (s side) attachTCX(p *ebpf.Program, index int) (link.Link, error) {
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index, Program: p, Attach: s.attach, Anchor: link.Head(),
	})
	if err != nil {
		return nil, fmt.Errorf("attach TC %s program: %w", s.name, err)
	}
	return l, nil
}

// attachXDP puts the program into the driver. A foreign program makes it fail.
func attachXDP(p *ebpf.Program, index int) (link.Link, error) {
	l, err := link.AttachXDP(link.XDPOptions{Interface: index, Program: p, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, fmt.Errorf("attach native XDP: %w", err)
	}
	return l, nil
}

// attached is one program on one interface.
type attached interface {
	// detach takes the program off. Success when the interface is gone.
	detach() error
	// release lets go of it: what is pinned, or a filter, goes on working.
	release() error
}

// attachment is what hangs on one interface.
type attachment struct {
	tc, xdp, egress attached
}

func (a attachment) each(do func(attached) error) error {
	var errs []error
	for _, one := range []attached{a.xdp, a.egress, a.tc} {
		if one != nil {
			errs = append(errs, do(one))
		}
	}
	return errors.Join(errs...)
}

func (a attachment) detach() error  { return a.each(attached.detach) }
func (a attachment) release() error { return a.each(attached.release) }
