package lab

import (
	"fmt"

	"github.com/weir-lb/weir/topo/link"
)

// ends are the interfaces of the page.
var ends = []struct{ node, link string }{{"client", "eth1"}, {"lb", "eth1"}, {"lb", "eth2"}, {"server", "eth1"}}

// Check looks for what spoils a run without a word: an XDP program on an interface
// that should have none, none where one should be, one that is generic; receive
// merging off at an end, where frames that XDP sends to it vanish; and, with XDP,
// unfinished checksums of senders. with names the interfaces, as "server:eth1",
// that the benchmark itself has attached a program to.
func (l *Lab) Check(with ...string) error {
	xdp := map[string]bool{}
	for _, name := range with {
		xdp[name] = true
	}
	if l.Balancer.IsWeir() && l.Balancer.Hook == "xdp" {
		xdp["lb:eth1"], xdp["lb:eth2"] = true, true
	}
	for _, e := range ends {
		name := e.node + ":" + e.link
		if err := l.checkXDP(e.node, e.link, xdp[name]); err != nil {
			return fmt.Errorf("check %s of %s: %w", name, l.Balancer.Name, err)
		}
		gro, err := link.Offload(l.Node(e.node).NS, e.link, "gro")
		if err != nil {
			return err
		}
		if !gro {
			return fmt.Errorf("check %s of %s: receive merging is off: frames from XDP would vanish", name, l.Balancer.Name)
		}
	}
	return l.checkSenders()
}

func (l *Lab) checkXDP(node, name string, want bool) error {
	found, err := netlinkOf(l.Node(node), name)
	if err != nil {
		return err
	}
	const native = 1 // XDP_ATTACHED_DRV
	at := found.Attrs().Xdp
	switch {
	case at == nil || !at.Attached:
		if want {
			return fmt.Errorf("no XDP program is attached")
		}
	case !want:
		return fmt.Errorf("XDP program %d is attached", at.ProgId)
	case at.AttachMode != native:
		return fmt.Errorf("XDP program %d is attached in mode %d and not in the driver", at.ProgId, at.AttachMode)
	}
	return nil
}

func (l *Lab) checkSenders() error {
	if l.Balancer.Hook != "xdp" {
		return nil
	}
	for _, node := range []string{"client", "server"} {
		tx, err := link.Offload(l.Node(node).NS, "eth1", "tx")
		if err != nil {
			return err
		}
		if tx {
			return fmt.Errorf("check %s of %s: it leaves checksums to a device that XDP does not ask", node, l.Balancer.Name)
		}
	}
	return nil
}
