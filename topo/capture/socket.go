package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer of a capture's socket, bytes: what may wait while the reader is busy.
const receiveBuffer = 16 << 20

// Status bits of struct tpacket_auxdata (linux/if_packet.h).
const statusChecksumNotReady = 1 << 3 // TP_STATUS_CSUMNOTREADY: CHECKSUM_PARTIAL

// networkOrder turns a host's 16 bits into network order for sockaddr_ll.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// packetSocket opens an AF_PACKET socket in the caller's namespace, bound to an interface, registered with the runtime's
// poller. With protocol 0 it receives nothing.
func packetSocket(name string, protocol uint16) (_ *os.File, index int, err error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	// Protocol 0 until it is bound: it must not see other interfaces for a moment.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open packet socket: %w; run as root", err)
	}
	file := os.NewFile(uintptr(fd), "packet:"+name)
	if protocol != 0 {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
		)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: iface.Index})
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("bind packet socket to %s: %w", name, err), file.Close())
	}
	return file, iface.Index, nil
}

// receiver reads one frame at a time into a buffer of snaplen bytes.
type receiver struct {
	raw  syscall.RawConn
	data []byte
	oob  [256]byte
}

// next waits for a frame; os.ErrDeadlineExceeded says that the file's read deadline has passed.
func (r *receiver) next() (Frame, error) {
	var f Frame
	var err error
	if waitErr := r.raw.Read(func(fd uintptr) bool {
		f, err = r.read(int(fd))
		return !errors.Is(err, unix.EAGAIN)
	}); waitErr != nil {
		return Frame{}, waitErr
	}
	return f, err
}

// queued reads a frame that is already there; unix.EAGAIN says that there is none.
func (r *receiver) queued() (Frame, error) {
	var f Frame
	var err error
	if ctlErr := r.raw.Control(func(fd uintptr) { f, err = r.read(int(fd)) }); ctlErr != nil {
		return Frame{}, ctlErr
	}
	return f, err
}

func (r *receiver) read(fd int) (Frame, error) {
	// MSG_TRUNC makes n the frame's true length, however short the buffer.
	n, oobn, _, from, err := unix.Recvmsg(fd, r.data, r.oob[:], unix.MSG_TRUNC|unix.MSG_DONTWAIT)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Length: n, Time: time.Now(), Data: append([]byte(nil), r.data[:min(n, len(r.data))]...)}
	if sll, ok := from.(*unix.SockaddrLinklayer); ok {
		f.Outgoing = sll.Pkttype == unix.PACKET_OUTGOING
	}
	messages, err := unix.ParseSocketControlMessage(r.oob[:oobn])
	if err != nil {
		return f, fmt.Errorf("read control messages: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 4 {
			f.Partial = binary.NativeEndian.Uint32(m.Data)&statusChecksumNotReady != 0
		}
		if stamp, ok := timestamp(m); ok {
			f.Time = stamp
		}
	}
	return f, nil
}

// dropped returns how many frames found the socket's buffer full since the last call.
func dropped(raw syscall.RawConn) (uint64, error) {
	var stats *unix.TpacketStats
	var err error
	if ctlErr := raw.Control(func(fd uintptr) {
		stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); ctlErr != nil {
		return 0, ctlErr
	}
	if err != nil {
		return 0, err
	}
	return uint64(stats.Drops), nil
}
