package chain

import (
	"encoding/binary"
	"net/netip"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/programs"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// payload makes a frame of 60 bytes, the shortest without FCS, of a datagram.
var payload = append([]byte(programs.Mark), make([]byte, programs.SampleLength-14-20-8-len(programs.Mark))...)

// clientPorts is how many ports a client uses, from 1024 on.
const clientPorts = 60_000

// client is the address and port of the n-th client: no two have the same.
func client(n int) netip.AddrPort {
	const addresses = 1 << 17
	b := lab.Clients.Addr().As4()
	first := binary.BigEndian.Uint32(b[:])
	binary.BigEndian.PutUint32(b[:], first+uint32(n%addresses))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(1024+(n+n/addresses)%clientPorts))
}

// frames returns a datagram to the VIP of each of n clients.
func (c *Chain) frames(first, n int) ([][]byte, error) {
	frames := make([][]byte, 0, n)
	h := packet.Header{
		SrcMAC: c.lab.MAC("client:eth1"), DstMAC: c.lab.MAC("lb:eth1"), Dst: netip.AddrPortFrom(lab.VIP, lab.PortChain),
	}
	for i := range n {
		h.Src = client(first + i)
		f, err := packet.UDPFrame(h, payload)
		if err != nil {
			return nil, err
		}
		frames = append(frames, f)
	}
	return frames, nil
}
