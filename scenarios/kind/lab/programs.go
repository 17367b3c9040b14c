package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Programs are the names of the BPF programs that the machine's interfaces have, by the interface's name: XDP, then TC's
// of what comes in and what leaves, by links and by filters. An interface without any is not there.
func (m Machine) Programs(ctx context.Context) (map[string][]string, error) {
	ns, err := namespace(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	err = ns.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			names, err := programsOf(l)
			if err != nil {
				return fmt.Errorf("programs of %s: %w", l.Attrs().Name, err)
			}
			if len(names) > 0 {
				all[l.Attrs().Name] = names
			}
		}
		return nil
	})
	if err = errors.Join(err, ns.Close()); err != nil {
		return nil, fmt.Errorf("look at %s: %w", m.Name, err)
	}
	return all, nil
}

func programsOf(l netlink.Link) ([]string, error) {
	var names []string
	if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
		name, err := programName(ebpf.ProgramID(xdp.ProgId))
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	for _, way := range []struct {
		link   ebpf.AttachType
		filter uint32
	}{{ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS}, {ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS}} {
		linked, err := linkedPrograms(l, way.link)
		if err != nil {
			return nil, err
		}
		names = append(names, linked...)
		filters, err := netlink.FilterList(l, way.filter)
		if err != nil {
			return nil, err
		}
		for _, f := range filters {
			if f, ok := f.(*netlink.BpfFilter); ok {
				names = append(names, f.Name)
			}
		}
	}
	return names, nil
}

// linkedPrograms are those of TCX links, which kernels have since Linux 6.6; older ones do not know the way.
func linkedPrograms(l netlink.Link, at ebpf.AttachType) ([]string, error) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: at})
	if errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range found.Programs {
		name, err := programName(p.ID)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func programName(id ebpf.ProgramID) (string, error) {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "", err
	}
	info, err := p.Info()
	if err = errors.Join(err, p.Close()); err != nil {
		return "", err
	}
	return info.Name, nil
}
