package hook

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attachTCX puts the program before all others at the ingress of an
// interface; foreign programs stay. Requires at least Linux 6.6.
func attachTCX(p *ebpf.Program, index int) (link.Link, error) {
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index, Program: p, Attach: ebpf.AttachTCXIngress, Anchor: link.Head(),
	})
	if err != nil {
		return nil, fmt.Errorf("attach TC program: %w", err)
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
	tc, xdp attached
}

func (a attachment) each(do func(attached) error) error {
	var errs []error
	for _, one := range []attached{a.xdp, a.tc} {
		if one != nil {
			errs = append(errs, do(one))
		}
	}
	return errors.Join(errs...)
}

func (a attachment) detach() error  { return a.each(attached.detach) }
func (a attachment) release() error { return a.each(attached.release) }
