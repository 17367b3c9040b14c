package collect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/doctor"
)

// own is how the names of weir's programs begin.
const own = "weir_"

// places are where TC programs are attached, by TCX and as filters.
var places = []struct {
	name   string
	tcx    ebpf.AttachType
	parent uint32
}{
	{"tc ingress", ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS},
	{"tc egress", ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS},
}

// programs lists what is attached to the interface at XDP, by TCX (Linux 6.6)
// and as clsact filters. Needs CAP_NET_ADMIN, and CAP_SYS_ADMIN or CAP_BPF for
// names.
func programs(l netlink.Link) ([]doctor.Program, error) {
	attrs := l.Attrs()
	var all []doctor.Program
	var errs []error
	if attrs.Xdp != nil && attrs.Xdp.Attached {
		p, err := program(ebpf.ProgramID(attrs.Xdp.ProgId), "xdp")
		all, errs = append(all, p), append(errs, err)
	}
	for _, at := range places {
		result, err := link.QueryPrograms(link.QueryOptions{Target: attrs.Index, Attach: at.tcx})
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
			continue // no TCX in this kernel, or the interface went
		}
		if errors.Is(err, ebpf.ErrNotSupported) {
			// So says the library, too, to those who may not ask, which needs
			// CAP_NET_ADMIN. Kernels have been able to answer since Linux 4.15.
			err = unix.EPERM
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list programs of interfaces: %w", err))
			continue
		}
		for _, attached := range result.Programs {
			p, err := program(attached.ID, at.name)
			all, errs = append(all, p), append(errs, err)
		}
	}
	filters, err := filters(l)
	return append(all, filters...), errors.Join(append(errs, err)...)
}

// program names a program. One whose name may not be read is somebody's.
func program(id ebpf.ProgramID, where string) (doctor.Program, error) {
	out := doctor.Program{ID: uint32(id), Where: where, Name: "unnamed"}
	p, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, unix.ENOENT) {
		return out, nil // detached meanwhile
	}
	if err != nil {
		return out, fmt.Errorf("name programs of interfaces: %w", err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return out, fmt.Errorf("name programs of interfaces: %w", err)
	}
	out.Name, out.Ours = info.Name, strings.HasPrefix(info.Name, own)
	return out, nil
}

// filters lists the clsact filters that are BPF programs.
func filters(l netlink.Link) ([]doctor.Program, error) {
	var all []doctor.Program
	for _, at := range places {
		list, err := netlink.FilterList(l, at.parent)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			continue // no clsact qdisc there
		}
		if err != nil {
			return all, fmt.Errorf("list filters of interfaces: %w", err)
		}
		for _, f := range list {
			if b, ok := f.(*netlink.BpfFilter); ok {
				all = append(all, doctor.Program{ID: uint32(b.Id), Name: b.Name, Where: at.name, Ours: strings.HasPrefix(b.Name, own)})
			}
		}
	}
	return all, nil
}
