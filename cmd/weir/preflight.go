package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// minKernel is the oldest kernel that CI runs (DESIGN.md 5).
var minKernel = kernel{6, 1}

// facts are what weir needs of the machine, as found.
type facts struct {
	capabilities uint64 // effective set, a bit each
	release      string // of the kernel, as uname -r prints it
	btf          bool   // the kernel describes its own types
}

type kernel struct{ major, minor int }

// capability is a bit of facts.capabilities and its name.
type capability struct {
	bit  uint
	name string
}

var (
	netAdmin = capability{unix.CAP_NET_ADMIN, "NET_ADMIN"}
	bpf      = capability{unix.CAP_BPF, "BPF"}
	perfmon  = capability{unix.CAP_PERFMON, "PERFMON"}
)

// preflight says in one error everything that is missing, before anything is
// touched. features probes the kernel's BPF features; it is not called for a
// peer, nor without the rights to probe.
func preflight(peer bool, f facts, features func() error) error {
	lacking := missing(peer, f)
	if !peer && len(lacking) == 0 {
		if err := features(); err != nil {
			lacking = append(lacking, err.Error())
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return errors.New("cannot start, nothing was touched: " + strings.Join(lacking, "; "))
}

// missing lists what f lacks. A peer has no BPF programs.
func missing(peer bool, f facts) []string {
	var lacking []string
	needed := []capability{netAdmin}
	if !peer {
		needed = []capability{bpf, netAdmin, perfmon}
	}
	for _, c := range needed {
		if f.capabilities&(1<<c.bit) == 0 {
			lacking = append(lacking, "capability "+c.name+" is missing, run as root or add it")
		}
	}
	if peer {
		return lacking
	}
	var k kernel
	if _, err := fmt.Sscanf(f.release, "%d.%d", &k.major, &k.minor); err != nil {
		lacking = append(lacking, fmt.Sprintf("kernel release %q is not understood", f.release))
	} else if k.major < minKernel.major || k.major == minKernel.major && k.minor < minKernel.minor {
		lacking = append(lacking, fmt.Sprintf("kernel %s is too old, use %d.%d or newer", f.release, minKernel.major, minKernel.minor))
	}
	if !f.btf {
		lacking = append(lacking, "kernel has no BTF (/sys/kernel/btf/vmlinux), use one built with CONFIG_DEBUG_INFO_BTF and mount /sys")
	}
	return lacking
}

// readFacts asks the kernel.
func readFacts() (facts, error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return facts{}, fmt.Errorf("read capabilities: %w", err)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return facts{}, fmt.Errorf("read kernel release: %w", err)
	}
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return facts{}, fmt.Errorf("look for BTF: %w", err)
	}
	return facts{
		capabilities: uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective),
		release:      unix.ByteSliceToString(name.Release[:]),
		btf:          err == nil,
	}, nil
}
