package collect

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands and flags of linux/ethtool.h.
const (
	getGRO   = 0x2b
	getFlags = 0x25
	flagLRO  = 1 << 15
)

// merges asks whether received packets are merged. What the driver does not
// tell is left out.
func merges(name string) map[string]bool {
	out := map[string]bool{}
	gro, flags := ethtoolValue{command: getGRO}, ethtoolValue{command: getFlags}
	if ethtool(name, &gro) {
		out["gro"] = gro.data != 0
	}
	if ethtool(name, &flags) {
		out["lro"] = flags.data&flagLRO != 0
	}
	return out
}

// ethtoolValue is struct ethtool_value: a command, and what it sets or the kernel
// answers.
type ethtoolValue struct{ command, data uint32 }

// ethtool has the kernel do a value's command about an interface.
func ethtool(name string, value *ethtoolValue) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // struct ifreq is larger than this member of its union
	}{data: unsafe.Pointer(value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	return errno == 0
}

// driverOf is the driver's name as ethtool -i has it.
func driverOf(name string) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "unknown"
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	if err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(info.Driver[:])
}
