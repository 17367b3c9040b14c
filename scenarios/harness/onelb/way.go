package onelb

import (
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// Way is one flow with its addresses on both sides of weir.
type Way struct {
	Client, Frontend netip.AddrPort // as the client sees it
	Source, Backend  netip.AddrPort // as the backend sees it
}

// WayOf is what the mode makes of a client's flow to backend1, whose address
// backend has. The client's port is taken to be free on the other side too, so
// that weir keeps it, and weir's node gives it to none of its sockets.
func WayOf(m v1.Mode, p v1.Protocol, client, backend netip.AddrPort) Way {
	w := Way{Client: client, Frontend: Frontend(m, p), Source: client, Backend: backend}
	switch m {
	case v1.ModeOneArm:
		w.Source = netip.AddrPortFrom(TowardsBackend1, client.Port())
	case v1.ModeFullNAT:
		w.Source = netip.AddrPortFrom(VIP, client.Port())
	case v1.ModeDefault:
	}
	return w
}

// Forward is what weir does to a packet of the client.
func (w Way) Forward() packet.Translation {
	return packet.Translation{Src: w.Source, Dst: w.Backend, TTLDown: 1}
}

// Reply is what weir does to a packet of the backend.
func (w Way) Reply() packet.Translation {
	return packet.Translation{Src: w.Frontend, Dst: w.Client, TTLDown: 1}
}
