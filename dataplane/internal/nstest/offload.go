package nstest

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolStxcsum is ETHTOOL_STXCSUM of linux/ethtool.h.
const ethtoolStxcsum = 0x17

// TxChecksumOff makes the senders on an interface of the caller's namespace
// finish their checksums themselves, as `ethtool -K name tx off` does: a
// program in native XDP takes frames for finished.
func TxChecksumOff(t testing.TB, name string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Errorf("open socket: %v", err)
		return
	}
	defer unix.Close(fd)
	value := struct{ command, data uint32 }{command: ethtoolStxcsum}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		pad  [16]byte // struct ifreq is larger than this member of its union
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Errorf("switch tx checksum of %s off: %v", name, errno)
	}
}
