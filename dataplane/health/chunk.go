package health

import (
	"encoding/binary"
	"hash/crc32"
)

// The parts of SCTP that a probe needs (RFC 9260). Everything is in network
// order, but the checksum, which is little endian (appendix A).
const (
	sctpHeader = 12 // ports, verification tag, checksum
	sctpChunk  = 4  // type, flags, length
	sctpInit   = 16 // initiate tag, window, streams out and in, initial TSN

	chunkInit    = 1
	chunkInitAck = 2
	chunkAbort   = 6

	// abortReflected is the T bit: the verification tag is the receiver's
	// own of a packet that it sent (8.5.1).
	abortReflected = 1

	// receiveWindow in bytes, advertised by an INIT: any above 1500 will do
	// (3.3.2), no data ever comes.
	receiveWindow = 65535
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// association is one that a probe pretends to want.
type association struct {
	// source and destination ports.
	source, destination uint16
	// tag is our initiate tag, which every answer carries. Never zero.
	tag uint32
}

// init returns the packet that asks for the association.
func (a association) init(tsn uint32) []byte {
	p := a.packet(0, chunkInit, sctpInit)
	body := p[sctpHeader+sctpChunk:]
	binary.BigEndian.PutUint32(body, a.tag)
	binary.BigEndian.PutUint32(body[4:], receiveWindow)
	binary.BigEndian.PutUint16(body[8:], 1)  // streams out
	binary.BigEndian.PutUint16(body[10:], 1) // streams in
	binary.BigEndian.PutUint32(body[12:], tsn)
	return seal(p)
}

// abort returns the packet that ends it; peer is the peer's initiate tag.
func (a association) abort(peer uint32) []byte {
	return seal(a.packet(peer, chunkAbort, 0))
}

func (a association) packet(verification uint32, kind byte, body int) []byte {
	p := make([]byte, sctpHeader+sctpChunk+body)
	binary.BigEndian.PutUint16(p, a.source)
	binary.BigEndian.PutUint16(p[2:], a.destination)
	binary.BigEndian.PutUint32(p[4:], verification)
	p[sctpHeader] = kind
	binary.BigEndian.PutUint16(p[sctpHeader+2:], uint16(sctpChunk+body))
	return p
}

// seal fills the checksum in.
func seal(p []byte) []byte {
	binary.LittleEndian.PutUint32(p[8:], checksum(p))
	return p
}

// checksum is that of p as if its own field were zero.
func checksum(p []byte) uint32 {
	sum := crc32.Update(0, castagnoli, p[:8])
	sum = crc32.Update(sum, castagnoli, []byte{0, 0, 0, 0})
	return crc32.Update(sum, castagnoli, p[sctpHeader:])
}

// answer is what a packet means to an association.
type answer uint8

const (
	// unrelated is another's, damaged or forged.
	unrelated answer = iota
	accepted
	refused
)

// read tells what a packet without its IP header means, and the peer's
// initiate tag of one that accepts.
func (a association) read(p []byte) (answer, uint32) {
	if len(p) < sctpHeader+sctpChunk || !a.sentBy(p) || binary.BigEndian.Uint32(p[4:]) != a.tag || !intact(p) {
		return unrelated, 0
	}
	kind, flags := p[sctpHeader], p[sctpHeader+1]
	length := int(binary.BigEndian.Uint16(p[sctpHeader+2:]))
	switch {
	case kind == chunkAbort && flags&abortReflected == 0:
		return refused, 0
	case kind == chunkInitAck && length >= sctpChunk+sctpInit && length <= len(p)-sctpHeader:
		peer := binary.BigEndian.Uint32(p[sctpHeader+sctpChunk:])
		if peer == 0 {
			return unrelated, 0
		}
		return accepted, peer
	}
	return unrelated, 0
}

func (a association) sentBy(p []byte) bool {
	return binary.BigEndian.Uint16(p) == a.destination && binary.BigEndian.Uint16(p[2:]) == a.source
}

// quotedBy says that an ICMP error is about the association's INIT: p is what
// it quotes, of which 8 bytes are all that is sure (RFC 792).
func (a association) quotedBy(p []byte) bool {
	return len(p) >= 8 && binary.BigEndian.Uint16(p) == a.source && binary.BigEndian.Uint16(p[2:]) == a.destination &&
		binary.BigEndian.Uint32(p[4:]) == 0 // an INIT's verification tag
}

// intact checks the checksum. Zero is one that the sending kernel left to the
// device, which virtual devices never fill in: the packet never left memory.
func intact(p []byte) bool {
	sum := binary.LittleEndian.Uint32(p[8:])
	return sum == 0 || sum == checksum(p)
}
