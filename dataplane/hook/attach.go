package hook

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attachTCX puts the program before all others at the ingress of an
// interface. The link goes with this process; foreign programs stay.
// Requires at least Linux 6.6.
func attachTCX(p *ebpf.Program, index int) (io.Closer, error) {
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index, Program: p, Attach: ebpf.AttachTCXIngress, Anchor: link.Head(),
	})
	if err != nil {
		return nil, fmt.Errorf("attach TC program: %w", err)
	}
	return l, nil
}

// attachXDP puts the program into the driver. The link goes with this
// process. A foreign program makes it fail.
func attachXDP(p *ebpf.Program, index int) (io.Closer, error) {
	l, err := link.AttachXDP(link.XDPOptions{Interface: index, Program: p, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, fmt.Errorf("attach native XDP: %w", err)
	}
	return l, nil
}

// attachment is what hangs on one interface.
type attachment struct {
	tc, xdp io.Closer
}

func (a attachment) Close() error {
	var errs []error
	for _, c := range []io.Closer{a.xdp, a.tc} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
