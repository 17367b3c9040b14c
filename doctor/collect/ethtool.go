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
	if on, ok := ethtool(name, getGRO, 0); ok {
		out["gro"] = on != 0
	}
	if flags, ok := ethtool(name, getFlags, 0); ok {
		out["lro"] = flags&flagLRO != 0
	}
	return out
}

// ethtool gives a command about an interface one value, and returns the one that
// is there then (struct ethtool_value).
func ethtool(name string, command, data uint32) (uint32, bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	value := struct{ command, data uint32 }{command, data}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // struct ifreq is larger than this member of its union
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	return value.data, errno == 0
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
