package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/doctor/collect"
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
			found, err := collect.Programs(l)
			if err != nil {
				return fmt.Errorf("programs of %s: %w", l.Attrs().Name, err)
			}
			for _, p := range found {
				all[l.Attrs().Name] = append(all[l.Attrs().Name], p.Name)
			}
		}
		return nil
	})
	if err = errors.Join(err, ns.Close()); err != nil {
		return nil, fmt.Errorf("look at %s: %w", m.Name, err)
	}
	return all, nil
}
