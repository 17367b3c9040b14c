package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Translation is what a NAT should have done to a packet. Zero values keep what is there.
type Translation struct {
	Src, Dst netip.AddrPort
	TTLDown  uint8 // by how much the TTL falls
}

// Translate returns the frame as a NAT should send it on: addresses, ports and TTL changed, every checksum computed anew
// over all bytes. A scenario compares it with what it captured, by DiffIP.
func Translate(frame []byte, t Translation) ([]byte, error) {
	out := append([]byte(nil), frame...)
	l, err := locate(out)
	if err != nil {
		return nil, fmt.Errorf("translate frame: %w", err)
	}
	ports := l.l4Header() > 0 && l.protocol != ICMP
	set := func(to netip.AddrPort, addrAt, portAt int) {
		if to.IsValid() {
			copy(l.ip[addrAt:addrAt+4], to.Addr().AsSlice())
			if ports {
				binary.BigEndian.PutUint16(l.l4[portAt:], to.Port())
			}
		}
	}
	set(t.Src, 12, 0)
	set(t.Dst, 16, 2)
	l.ip[8] -= t.TTLDown
	l.fixChecksums()
	return out, nil
}

// FixChecksums computes every checksum of the frame anew, in place. A UDP checksum of zero ("none") stays.
func FixChecksums(frame []byte) error {
	l, err := locate(frame)
	if err != nil {
		return fmt.Errorf("fix checksums: %w", err)
	}
	l.fixChecksums()
	return nil
}

func (l *layout) fixChecksums() {
	binary.BigEndian.PutUint16(l.ip[10:], l.ipWants())
	if want, ok := l.wants(); ok && !l.fragment() && (l.protocol != UDP || l.checksum() != 0) {
		l.putChecksum(want)
	}
}

// DiffIP compares the IPv4 packets of two frames byte by byte; MAC addresses and Ethernet padding do not count. It
// returns "" when they are equal, else the fields that differ and the first differing byte.
func DiffIP(want, got []byte) string {
	w, err := locate(want)
	if err != nil {
		return fmt.Sprintf("wanted frame: %v", err)
	}
	g, err := locate(got)
	if err != nil {
		return fmt.Sprintf("got frame: %v", err)
	}
	if bytes.Equal(w.ip, g.ip) {
		return ""
	}
	wp, _ := Parse(want)
	gp, _ := Parse(got)
	gp.SrcMAC, gp.DstMAC = wp.SrcMAC, wp.DstMAC
	return fmt.Sprintf("IPv4 packets differ from byte %d on (header %d bytes)\nwant %x\ngot  %x\n%s",
		firstDifference(w.ip, g.ip), w.ihl, clip(w.ip), clip(g.ip), Diff(wp, gp))
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// clip keeps a report on one screen.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }
