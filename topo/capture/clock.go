package capture

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settleTime is the longest that settleClock tries.
const settleTime = time.Second

// settleClock waits until the kernel stamps packets as they pass. It begins to do so some time after the first socket
// asked (a static key that a work queue flips); until then a packet gets the time at which it is read, and captures of
// one packet at several interfaces would be out of order. The key belongs to the machine, so packets over loopback show
// its state. Without loopback the order of the first milliseconds is not certain, and nothing else is lost.
func settleClock() error {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil // no loopback here
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); err != nil {
		return err
	}
	if optErr != nil {
		return os.NewSyscallError("setsockopt SO_TIMESTAMPNS", optErr)
	}
	deadline := time.Now().Add(settleTime)
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for time.Now().Before(deadline) {
		stamped, err := stampedOnArrival(conn, deadline)
		if stamped || err != nil {
			return err
		}
		<-retry.C
	}
	return nil
}

// stampedOnArrival sends a datagram to conn itself and says whether it was stamped before it was read.
func stampedOnArrival(conn *net.UDPConn, deadline time.Time) (bool, error) {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	if _, err := conn.WriteTo([]byte{0}, conn.LocalAddr()); err != nil {
		return true, nil // loopback is down: there is nothing to wait for
	}
	arrived := time.Now()
	var data [1]byte
	var oob [64]byte
	_, oobn, _, _, err := conn.ReadMsgUDPAddrPort(data[:], oob[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		if stamp, ok := timestamp(m); ok {
			return stamp.Before(arrived), nil
		}
	}
	return false, nil
}

// timestamp reads the kernel's time of a packet.
func timestamp(m unix.SocketControlMessage) (time.Time, bool) {
	if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_TIMESTAMPNS || len(m.Data) < 16 {
		return time.Time{}, false
	}
	seconds, nanos := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
	return time.Unix(int64(seconds), int64(nanos)), true
}
