package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/netns"
)

// PrepareXDP does for the masters' links what native XDP needs of the other end of a veth, which is docker's: a program
// there, or what XDP transmits vanishes, and no transmit checksums, or XDP sees packets whose checksum is not done. Both
// go with the cluster.
func (c *Cluster) PrepareXDP(ctx context.Context) (err error) {
	// Docker's end is where containers are that have no network of their own.
	name := c.hostName()
	defer func() { // also where ctx has ended
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, removeContainer(ending, name))
	}()
	if _, err := docker(ctx, nil, "run", "--detach", "--interactive", "--name", name, "--network", "host", c.clientImage); err != nil {
		return err
	}
	ns, err := namespace(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	for _, m := range c.Masters {
		out, err := m.Run(ctx, "cat", "/sys/class/net/eth0/iflink")
		if err != nil {
			return err
		}
		index, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			return fmt.Errorf("look up the other end of %s: %w", m.Name, err)
		}
		if err := prepareXDP(ns, index); err != nil {
			return fmt.Errorf("prepare the other end of %s for XDP: %w", m.Name, err)
		}
	}
	return nil
}

// hostName is the container in the network of docker's daemon.
func (c *Cluster) hostName() string { return c.Name + "-host" }

func prepareXDP(ns *netns.NetNS, index int) error {
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "pass", Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 2), // XDP_PASS
		asm.Return(),
	}})
	if err != nil {
		return err
	}
	var name string
	err = ns.Do(func() error {
		l, err := netlink.LinkByIndex(index)
		if err != nil {
			return err
		}
		name = l.Attrs().Name
		return netlink.LinkSetXdpFdWithFlags(l, pass.FD(), unix.XDP_FLAGS_DRV_MODE)
	})
	if err = errors.Join(err, pass.Close()); err != nil {
		return err
	}
	return link.SetOffload(ns, name, "tx", false)
}
