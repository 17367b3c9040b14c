package buffer

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReceive asks for more than rmem_max, with the capability and without.
func TestReceive(t *testing.T) {
	const wanted = 64 << 20
	for name, without := range map[string]bool{"with the rights of root": false, "without CAP_NET_ADMIN": true} {
		t.Run(name, func(t *testing.T) {
			// Not unlocked: the thread ends with the test, and what it gave up with it.
			runtime.LockOSThread()
			if without {
				drop(t)
			}
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
			if err != nil {
				t.Fatal(err)
			}
			if err := Receive(fd, wanted); err != nil {
				t.Fatal(err)
			}
			after, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
			if err != nil {
				t.Fatal(err)
			}
			if after < before || !without && after < wanted {
				t.Errorf("the buffer was of %d and is of %d, %d were asked for", before, after, wanted)
			}
		})
	}
}

// drop takes CAP_NET_ADMIN from the calling thread.
func drop(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	sets[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
}
