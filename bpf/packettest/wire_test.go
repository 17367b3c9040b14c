package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
)

// maxLinear is the longest frame that test_run makes an skb of: one page less
// head and tail room. Longer ones are sent to the device over its veth, as skbs
// of several fragments.
const maxLinear = 3500

// wire has the TC program attached to a device's ingress, a socket that sends to
// the device and one that receives what goes out of another.
type wire struct {
	send, receive int
	detach        func() error
}

// newWire must run inside the namespace, as all methods.
func (w *world) newWire(from, to *nic) (_ *wire, err error) {
	x := &wire{send: -1, receive: -1, detach: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.close())
		}
	}()
	if x.send, err = packetSocket(from.name + "p"); err != nil {
		return nil, err
	}
	if x.receive, err = packetSocket(to.name + "p"); err != nil {
		return nil, err
	}
	qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: from.ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return nil, fmt.Errorf("add qdisc clsact: %w", err)
	}
	x.detach = func() error { return netlink.QdiscDel(qdisc) }
	return x, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from.ifindex, Parent: netlink.HANDLE_MIN_INGRESS,
			Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd: w.programs[bpf.HookTC].FD(), Name: "weir_tc", DirectAction: true})
}

func (x *wire) close() error {
	return errors.Join(x.detach(), unix.Close(x.send), unix.Close(x.receive))
}

// packetSocket returns a raw socket on a device, whose frames carry a struct
// virtio_net_hdr: what is offloaded is seen and can be asked for.
func packetSocket(device string) (int, error) {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var all [2]byte
	binary.BigEndian.PutUint16(all[:], unix.ETH_P_ALL)
	timeout := unix.NsecToTimeval(int64(2 * time.Second))
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(all[:]), Ifindex: l.Attrs().Index}))
}

// vnetHeader is struct virtio_net_hdr.
type vnetHeader struct {
	Flags, GSOType                             uint8
	HeaderLength, GSOSize, SumStart, SumOffset uint16
}

const (
	vnetHeaderLength  = 10
	vnetNeedsSum      = 1 // flag: the sum from SumStart to the end is still to be stored
	vnetGSOTCP4       = 1
	vnetTransferLimit = 1 << 17
)

// transfer sends a frame and returns the next one that is received.
func (x *wire) transfer(header vnetHeader, frame []byte) (vnetHeader, []byte, error) {
	raw, err := binary.Append(nil, binary.NativeEndian, header)
	if err != nil {
		return vnetHeader{}, nil, err
	}
	if _, err := unix.Write(x.send, append(raw, frame...)); err != nil {
		return vnetHeader{}, nil, fmt.Errorf("send frame: %w", err)
	}
	buffer := make([]byte, vnetTransferLimit)
	n, err := unix.Read(x.receive, buffer)
	if err != nil {
		return vnetHeader{}, nil, fmt.Errorf("receive frame: %w", err)
	}
	var got vnetHeader
	if _, err := binary.Decode(buffer, binary.NativeEndian, &got); err != nil {
		return vnetHeader{}, nil, err
	}
	return got, buffer[vnetHeaderLength:n], nil
}

// runOnWire is run for the TC program and frames that test_run refuses. It knows
// only one verdict, that the frame was sent.
func (w *world) runOnWire(from, to *nic, frame []byte) (verdict uint32, out []byte, err error) {
	w.do(func() {
		var x *wire
		if x, err = w.newWire(from, to); err != nil {
			return
		}
		_, out, err = x.transfer(vnetHeader{}, frame)
		err = errors.Join(err, x.close())
	})
	return tcRedirect, out, err
}
