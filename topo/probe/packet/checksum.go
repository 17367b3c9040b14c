package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The checksum errors that Verify returns; several may be joined.
var (
	ErrIPChecksum   = errors.New("wrong IPv4 header checksum")
	ErrTCPChecksum  = errors.New("wrong TCP checksum")
	ErrUDPChecksum  = errors.New("wrong UDP checksum")
	ErrSCTPChecksum = errors.New("wrong SCTP CRC32c")
	ErrICMPChecksum = errors.New("wrong ICMP checksum")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32c returns the checksum of an SCTP packet (common header and chunks) with the checksum field taken as zero.
// SCTP stores it little-endian, unlike everything else in the header (RFC 9260, appendix A).
func CRC32c(sctp []byte) uint32 {
	crc := crc32.Update(0, castagnoli, sctp[:8])
	crc = crc32.Update(crc, castagnoli, make([]byte, 4))
	return crc32.Update(crc, castagnoli, sctp[12:])
}

// PutCRC32c writes the checksum of an SCTP packet into its header.
func PutCRC32c(sctp []byte) { binary.LittleEndian.PutUint32(sctp[8:], CRC32c(sctp)) }

// onesSum adds big-endian 16-bit words with end-around carry, an odd last byte being the high half of a word.
func onesSum(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
		sum = sum&0xffff + sum>>16
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// pseudoSum is the folded, not complemented sum of the pseudo header: what CHECKSUM_PARTIAL leaves in the L4 field.
func (l *layout) pseudoSum() uint16 {
	sum := onesSum(0, l.ip[12:20])
	return fold(sum + uint32(l.protocol) + uint32(len(l.l4)))
}

// wants returns the value that the L4 checksum field must hold, and whether this protocol has such a field.
func (l *layout) wants() (want uint32, ok bool) {
	at, known := checksumAt[l.protocol]
	if !known || len(l.l4) < at.end {
		return 0, false
	}
	if l.protocol == SCTP {
		return CRC32c(l.l4), true
	}
	var sum uint32
	if l.protocol != ICMP {
		sum = uint32(l.pseudoSum())
	}
	sum = onesSum(sum, l.l4[:at.start]) // the field lies on an even offset: the two halves add up
	sum = onesSum(sum, l.l4[at.end:])
	value := ^fold(sum)
	if l.protocol == UDP && value == 0 {
		value = 0xffff // zero means "no checksum" (RFC 768)
	}
	return uint32(value), true
}

// span is a range of bytes.
type span struct{ start, end int }

var checksumAt = map[Protocol]span{ICMP: {2, 4}, TCP: {16, 18}, UDP: {6, 8}, SCTP: {8, 12}}

var checksumError = map[Protocol]error{
	ICMP: ErrICMPChecksum, TCP: ErrTCPChecksum, UDP: ErrUDPChecksum, SCTP: ErrSCTPChecksum,
}

func (l *layout) checksum() uint32 {
	at := checksumAt[l.protocol]
	switch field := l.l4[at.start:at.end]; len(field) {
	case 4:
		return binary.LittleEndian.Uint32(field)
	default:
		return uint32(binary.BigEndian.Uint16(field))
	}
}

func (l *layout) putChecksum(value uint32) {
	at := checksumAt[l.protocol]
	switch field := l.l4[at.start:at.end]; len(field) {
	case 4:
		binary.LittleEndian.PutUint32(field, value)
	default:
		binary.BigEndian.PutUint16(field, uint16(value))
	}
}

func (l *layout) ipWants() uint16 {
	return ^fold(onesSum(onesSum(0, l.ip[:10]), l.ip[12:l.ihl]))
}

func (l *layout) verifyIP() error {
	if got, want := binary.BigEndian.Uint16(l.ip[10:]), l.ipWants(); got != want {
		return fmt.Errorf("%w: got %#04x, want %#04x", ErrIPChecksum, got, want)
	}
	return nil
}

func (l *layout) verifyL4() error {
	if l.fragment() {
		return nil // the checksum covers all fragments, of which this is one
	}
	want, ok := l.wants()
	if !ok {
		return nil
	}
	got := l.checksum()
	if got == want || l.protocol == UDP && got == 0 {
		return nil
	}
	return fmt.Errorf("%w: got %#04x, want %#04x", checksumError[l.protocol], got, want)
}

// Verify recomputes the IPv4 header checksum and the TCP, UDP, ICMP or SCTP checksum of a frame. It returns nil when all
// are right, else the checksum errors joined, or why the frame could not be read. Of a fragment only the IPv4 header is
// checked; a UDP checksum of zero is "none" and right.
func Verify(frame []byte) error {
	l, err := locate(frame)
	if err != nil {
		return err
	}
	return errors.Join(l.verifyIP(), l.verifyL4())
}

// VerifyPartial is Verify for a frame whose L4 checksum is not computed yet (CHECKSUM_PARTIAL): the TCP or UDP field must
// hold the sum of the pseudo header, from which the device will complete it. A NAT that forgets this field is caught
// here while veth would deliver the packet as good. The kernel leaves nothing to check in an SCTP field.
func VerifyPartial(frame []byte) error {
	l, err := locate(frame)
	if err != nil {
		return err
	}
	ipErr := l.verifyIP()
	if l.fragment() || l.protocol != TCP && l.protocol != UDP || len(l.l4) < checksumAt[l.protocol].end {
		return ipErr
	}
	if got, want := l.checksum(), uint32(l.pseudoSum()); got != want {
		return errors.Join(ipErr, fmt.Errorf("%w: pseudo header sum got %#04x, want %#04x", checksumError[l.protocol], got, want))
	}
	return ipErr
}
