package link

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/netns"
)

// offload is the pair of ethtool commands (linux/ethtool.h) for a feature that
// `ethtool -K` knows by a short name.
type offload struct{ get, set uint32 }

var offloads = map[string]offload{
	"rx":  {0x14, 0x15}, // receive checksums
	"tx":  {0x16, 0x17}, // transmit checksums: TCP, UDP and SCTP
	"sg":  {0x18, 0x19}, // scatter-gather
	"tso": {0x1e, 0x1f}, // TCP segmentation
	"gso": {0x23, 0x24}, // software segmentation
	"gro": {0x2b, 0x2c}, // receive merging
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct {
	cmd  uint32
	data uint32
}

// ifreqData is struct ifreq with its pointer member.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// SetOffload switches the offload rx, tx, sg, tso, gso or gro, as
// `ethtool -K` does. Switching tx off takes sg, tso and gso with it, which the
// kernel cannot do without transmit checksums.
func SetOffload(ns *netns.NetNS, name, feature string, on bool) error {
	o, ok := offloads[feature]
	if !ok {
		return fmt.Errorf("set offload %q of %s: unknown, use rx, tx, sg, tso, gso or gro", feature, name)
	}
	v := ethtoolValue{cmd: o.set}
	if on {
		v.data = 1
	}
	if err := ethtool(ns, name, &v); err != nil {
		return fmt.Errorf("set offload %s of %s:%s: %w", feature, ns.Name(), name, err)
	}
	got, err := Offload(ns, name, feature)
	if err == nil && got != on {
		err = fmt.Errorf("set offload %s of %s:%s: the driver keeps %t", feature, ns.Name(), name, got)
	}
	return err
}

// Offload tells whether the offload is on.
func Offload(ns *netns.NetNS, name, feature string) (bool, error) {
	o, ok := offloads[feature]
	if !ok {
		return false, fmt.Errorf("get offload %q of %s: unknown, use rx, tx, sg, tso, gso or gro", feature, name)
	}
	v := ethtoolValue{cmd: o.get}
	if err := ethtool(ns, name, &v); err != nil {
		return false, fmt.Errorf("get offload %s of %s:%s: %w", feature, ns.Name(), name, err)
	}
	return v.data != 0, nil
}

func ethtool(ns *netns.NetNS, name string, v *ethtoolValue) error {
	return ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		req := ifreqData{data: unsafe.Pointer(v)}
		copy(req.name[:unix.IFNAMSIZ-1], name)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		if errno != 0 {
			return errors.Join(errno, unix.Close(fd))
		}
		return unix.Close(fd)
	})
}
