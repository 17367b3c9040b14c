package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// facts are what the dataplane needs of the machine, as found.
type facts struct {
	capabilities uint64 // effective set, one bit each
	kernel       string // uname -r
	btf          bool   // the kernel describes its types
	forwarding   bool   // net.ipv4.ip_forward
}

// minMajor and minMinor are the oldest kernel that CI runs.
const minMajor, minMinor = 6, 1

// Preflight says in one error everything that New and packets would miss: a
// kernel of at least Linux 6.1 with BTF, the capabilities CAP_BPF,
// CAP_NET_ADMIN, CAP_NET_RAW (for probes) and CAP_PERFMON, the BPF programs and helpers that are used,
// and forwarding of IPv4. It changes nothing.
func Preflight() error {
	lacking, err := Examine()
	if err != nil || len(lacking) == 0 {
		return err
	}
	all := make([]string, len(lacking))
	for i, l := range lacking {
		all[i] = l.String()
	}
	return fmt.Errorf("check machine, nothing was touched: %s", strings.Join(all, "; "))
}

// Lack is one thing that this machine or process does not have.
type Lack struct {
	// Of is what kind of thing.
	Of Kind
	// Seen and Do are for a person: what is so, and what to do.
	Seen, Do string
}

// Kind sorts what can be lacking.
type Kind string

// The kinds.
const (
	Rights     Kind = "rights"
	Kernel     Kind = "kernel"
	Forwarding Kind = "forwarding"
)

// String is both sentences in one line.
func (l Lack) String() string { return l.Seen + ", " + l.Do }

// Examine lists what Preflight would refuse. It changes nothing. The error is
// for a machine that cannot be asked.
func Examine() ([]Lack, error) {
	found, err := gather()
	if err != nil {
		return nil, err
	}
	lacking := missing(found)
	if found.capable() {
		lacking = append(lacking, probe()...)
	}
	return lacking, nil
}

var needed = []struct {
	bit  uint
	name string
}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}, {unix.CAP_PERFMON, "CAP_PERFMON"}}

func (f facts) capable() bool {
	for _, c := range needed {
		if f.capabilities&(1<<c.bit) == 0 {
			return false
		}
	}
	return true
}

// missing lists what f lacks.
func missing(f facts) []Lack {
	var lacking []Lack
	for _, c := range needed {
		if f.capabilities&(1<<c.bit) == 0 {
			lacking = append(lacking, Lack{Rights, c.name + " is missing", "run as root or add it"})
		}
	}
	var major, minor int
	if _, err := fmt.Sscanf(f.kernel, "%d.%d", &major, &minor); err != nil {
		lacking = append(lacking, Lack{Kernel, fmt.Sprintf("kernel release %q is not understood", f.kernel), fmt.Sprintf("use Linux %d.%d or newer", minMajor, minMinor)})
	} else if major < minMajor || major == minMajor && minor < minMinor {
		lacking = append(lacking, Lack{Kernel, fmt.Sprintf("kernel %s is too old", f.kernel), fmt.Sprintf("use %d.%d or newer", minMajor, minMinor)})
	}
	if !f.btf {
		lacking = append(lacking, Lack{Kernel, "kernel has no BTF (/sys/kernel/btf/vmlinux)", "use one with CONFIG_DEBUG_INFO_BTF and mount /sys"})
	}
	if !f.forwarding {
		lacking = append(lacking, Lack{Forwarding, "IPv4 is not forwarded, so bpf_fib_lookup refuses", "run sysctl -w net.ipv4.ip_forward=1"})
	}
	return lacking
}

// probe asks the kernel for each kind of program and helper in turn.
func probe() []Lack {
	var lacking []Lack
	check := func(what string, err error) {
		if err != nil {
			lacking = append(lacking, Lack{Kernel, fmt.Sprintf("the kernel has no %s (%v)", what, err), "use another kernel, or allow bpf(2)"})
		}
	}
	check("TC programs", features.HaveProgramType(ebpf.SchedCLS))
	check("XDP programs", features.HaveProgramType(ebpf.XDP))
	check("LRU hash maps", features.HaveMapType(ebpf.LRUHash))
	check("bpf_fib_lookup for XDP", features.HaveProgramHelper(ebpf.XDP, asm.FnFibLookup))
	check("bpf_redirect_neigh for TC", features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectNeigh))
	return lacking
}

// gather asks the kernel.
func gather() (facts, error) {
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
	forward, forwardErr := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if forwardErr != nil {
		return facts{}, fmt.Errorf("read forwarding: %w", forwardErr)
	}
	return facts{
		capabilities: uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective),
		kernel:       unix.ByteSliceToString(name.Release[:]),
		btf:          err == nil,
		forwarding:   strings.TrimSpace(string(forward)) == "1",
	}, nil
}
