package bpf

import (
	"encoding/binary"
	"net/netip"
)

// Addr returns an IPv4 address as the maps hold it, a __be32: the bytes in
// memory are in network order. It panics for other families.
func Addr(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

// AddrFrom is the inverse of Addr.
func AddrFrom(v uint32) netip.Addr {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

// Port converts a port between host order and __be16; it is its own inverse.
func Port(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}
