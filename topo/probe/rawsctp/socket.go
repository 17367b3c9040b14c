package rawsctp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/probe/buffer"
)

// receiveBuffer of the raw socket, bytes. All associations share it, so it is far larger than the kernel's default.
const receiveBuffer = 8 << 20

// maxDatagram is the longest IPv4 packet.
const maxDatagram = 65535

// socket sends and receives SCTP packets as IPv4 payload. It is safe for concurrent use.
type socket struct{ conn *net.IPConn }

// datagram is one SCTP packet with its addresses; data starts at the common header.
type datagram struct {
	src, dst netip.AddrPort
	data     []byte
}

// openSocket opens the raw socket in the caller's network namespace. It needs CAP_NET_RAW.
func openSocket() (*socket, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctlErr := c.Control(func(fd uintptr) {
			err = buffer.Receive(int(fd), receiveBuffer)
		}); ctlErr != nil {
			return ctlErr
		}
		return os.NewSyscallError("size the receive buffer", err)
	}}
	conn, err := config.ListenPacket(context.Background(), "ip4:132", "0.0.0.0")
	if err != nil {
		return nil, fmt.Errorf("open raw SCTP socket: %w; run as root", err)
	}
	return &socket{conn.(*net.IPConn)}, nil
}

// receive waits for the next packet that has a complete common header. The data aliases buf.
func (s *socket) receive(buf []byte) (datagram, error) {
	for {
		n, _, _, _, err := s.conn.ReadMsgIP(buf, nil)
		if err != nil {
			return datagram{}, err
		}
		if d, ok := split(buf[:n]); ok {
			return d, nil
		}
	}
}

// split takes the IPv4 header off, which raw sockets deliver too.
func split(b []byte) (datagram, bool) {
	if len(b) < 20 {
		return datagram{}, false
	}
	ihl := int(b[0]&0xf) * 4
	if ihl < 20 || len(b) < ihl+headerLen {
		return datagram{}, false
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	data := b[ihl:]
	return datagram{
		src:  netip.AddrPortFrom(src, binary.BigEndian.Uint16(data)),
		dst:  netip.AddrPortFrom(dst, binary.BigEndian.Uint16(data[2:])),
		data: data,
	}, true
}

// send sends from that very source address, which a socket shared by many addresses has to name for each packet.
func (s *socket) send(src, dst netip.Addr, data []byte) error {
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: src.As4()})
	_, _, err := s.conn.WriteMsgIP(data, oob, &net.IPAddr{IP: dst.AsSlice()})
	return err
}

// sourceFor asks the kernel's routes which local address it would use towards dst, in the caller's namespace.
func sourceFor(dst netip.Addr) (netip.Addr, error) {
	// Connecting a UDP socket looks up the route and sends nothing.
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 9)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find source address towards %s: %w", dst, err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// KernelHasSCTP says whether SCTP is loaded in this kernel. Then the kernel answers our packets with ABORT; unload the
// module, or drop ABORT on its way out (iptables -A OUTPUT -p sctp --chunk-types any ABORT -j DROP).
func KernelHasSCTP() bool {
	_, err := os.Stat("/proc/net/sctp")
	return err == nil
}
