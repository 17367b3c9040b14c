package packet

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// ChunkType is the type of an SCTP chunk (RFC 9260, section 3.2).
type ChunkType uint8

// The chunk types of RFC 9260, and I-DATA of RFC 8260.
const (
	ChunkData             ChunkType = 0
	ChunkInit             ChunkType = 1
	ChunkInitAck          ChunkType = 2
	ChunkSack             ChunkType = 3
	ChunkHeartbeat        ChunkType = 4
	ChunkHeartbeatAck     ChunkType = 5
	ChunkAbort            ChunkType = 6
	ChunkShutdown         ChunkType = 7
	ChunkShutdownAck      ChunkType = 8
	ChunkError            ChunkType = 9
	ChunkCookieEcho       ChunkType = 10
	ChunkCookieAck        ChunkType = 11
	ChunkShutdownComplete ChunkType = 14
	ChunkIData            ChunkType = 64
)

var chunkTypeNames = map[ChunkType]string{
	ChunkData: "DATA", ChunkInit: "INIT", ChunkInitAck: "INIT ACK", ChunkSack: "SACK", ChunkHeartbeat: "HEARTBEAT",
	ChunkHeartbeatAck: "HEARTBEAT ACK", ChunkAbort: "ABORT", ChunkShutdown: "SHUTDOWN", ChunkShutdownAck: "SHUTDOWN ACK",
	ChunkError: "ERROR", ChunkCookieEcho: "COOKIE ECHO", ChunkCookieAck: "COOKIE ACK",
	ChunkShutdownComplete: "SHUTDOWN COMPLETE", ChunkIData: "I-DATA",
}

// String returns the name of its RFC, or the number.
func (t ChunkType) String() string {
	if name, ok := chunkTypeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("CHUNK %d", uint8(t))
}

// Chunk is one SCTP chunk; its length field and padding are made when it is laid out.
type Chunk struct {
	Type  ChunkType
	Flags uint8
	Value []byte // without the 4 bytes of the chunk header
}

// Param is a parameter of INIT or INIT ACK (RFC 9260, section 3.2.1).
type Param struct {
	Type  uint16
	Value []byte
}

// AddressParam is the IPv4 Address parameter: one more address of a multihomed endpoint.
func AddressParam(a netip.Addr) Param { return Param{Type: 5, Value: a.AsSlice()} }

// CookieParam is the State Cookie that an INIT ACK must carry.
func CookieParam(cookie []byte) Param { return Param{Type: 7, Value: cookie} }

// Handshake holds the fixed fields of INIT and INIT ACK; zero streams mean 1, a zero window means 65 536 bytes.
type Handshake struct {
	Tag               uint32 // initiate tag: the verification tag that the other side must use
	Window            uint32
	Outbound, Inbound uint16
	TSN               uint32
}

// Init is an INIT chunk.
func Init(h Handshake, params ...Param) Chunk { return handshakeChunk(ChunkInit, h, params) }

// InitAck is an INIT ACK chunk.
func InitAck(h Handshake, params ...Param) Chunk { return handshakeChunk(ChunkInitAck, h, params) }

func handshakeChunk(t ChunkType, h Handshake, params []Param) Chunk {
	if h.Window == 0 {
		h.Window = 65536
	}
	b := binary.BigEndian.AppendUint32(nil, h.Tag)
	b = binary.BigEndian.AppendUint32(b, h.Window)
	b = binary.BigEndian.AppendUint16(b, max(h.Outbound, 1))
	b = binary.BigEndian.AppendUint16(b, max(h.Inbound, 1))
	b = binary.BigEndian.AppendUint32(b, h.TSN)
	for _, p := range params {
		b = pad(b) // the last parameter's padding belongs to the chunk, not to its length
		b = binary.BigEndian.AppendUint16(b, p.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(4+len(p.Value)))
		b = append(b, p.Value...)
	}
	return Chunk{Type: t, Value: b}
}

// Data is an ordered, unfragmented DATA chunk on a stream.
func Data(tsn uint32, stream, sequence uint16, payload []byte) Chunk {
	b := binary.BigEndian.AppendUint32(nil, tsn)
	b = binary.BigEndian.AppendUint16(b, stream)
	b = binary.BigEndian.AppendUint16(b, sequence)
	b = binary.BigEndian.AppendUint32(b, 0) // payload protocol: none
	return Chunk{Type: ChunkData, Flags: 0x03, Value: append(b, payload...)}
}

// Abort is an ABORT chunk; with a reason it carries the cause "user-initiated abort" (RFC 9260, section 3.3.10.12).
func Abort(reason string) Chunk {
	if reason == "" {
		return Chunk{Type: ChunkAbort}
	}
	b := binary.BigEndian.AppendUint16(nil, 12)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(reason)))
	return Chunk{Type: ChunkAbort, Value: append(b, reason...)}
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendChunk(b []byte, c Chunk) []byte {
	b = append(b, byte(c.Type), c.Flags)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(c.Value)))
	return pad(append(b, c.Value...))
}

// FirstChunk returns the type of the first chunk of an SCTP packet, false when there is none.
func FirstChunk(sctp []byte) (ChunkType, bool) {
	if len(sctp) < 16 {
		return 0, false
	}
	return ChunkType(sctp[12]), true
}

// InitTag returns the initiate tag of an SCTP packet that is an INIT, false when it is none.
func InitTag(sctp []byte) (tag uint32, ok bool) {
	if first, _ := FirstChunk(sctp); len(sctp) < 20 || first != ChunkInit {
		return 0, false
	}
	return binary.BigEndian.Uint32(sctp[16:]), true
}

// AskForSACK sets the I bit of the DATA and I-DATA chunks that end a message in an SCTP packet, whose checksum is wrong then:
// the peer is not to hold its acknowledgement back (RFC 9260, section 3.3.1).
func AskForSACK(sctp []byte) {
	const ends, immediately = 0x01, 0x08
	for c := range chunks(sctp[min(len(sctp), 12):]) {
		if t := ChunkType(c[0]); (t == ChunkData || t == ChunkIData) && c[1]&ends != 0 {
			c[1] |= immediately
		}
	}
}

// chunks are those of b with their headers; of the last one there may be less than it says.
func chunks(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) >= 4 {
			n := int(binary.BigEndian.Uint16(b[2:])+3) &^ 3
			if !yield(b[:min(max(n, 4), len(b))]) || n < 4 || n > len(b) {
				return
			}
			b = b[n:]
		}
	}
}

// chunkNames lists the chunks of b, separated by commas.
func chunkNames(b []byte) string {
	var names []string
	for c := range chunks(b) {
		names = append(names, ChunkType(c[0]).String())
	}
	return strings.Join(names, ",")
}
