package rtnl

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// kindsIn returns what a datagram of netlink messages is about. A message cut
// short means that more changed than can be told.
func kindsIn(datagram []byte) Kind {
	var kinds Kind
	for len(datagram) > 0 {
		if len(datagram) < unix.NLMSG_HDRLEN {
			return All
		}
		length := int(binary.NativeEndian.Uint32(datagram))
		if length < unix.NLMSG_HDRLEN || length > len(datagram) {
			return All
		}
		kinds |= kindOf(binary.NativeEndian.Uint16(datagram[4:]))
		aligned := (length + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
		datagram = datagram[min(aligned, len(datagram)):]
	}
	return kinds
}

func kindOf(messageType uint16) Kind {
	switch messageType {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return Links
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return Addresses
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return Routes
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return Neighbours
	}
	return 0
}
