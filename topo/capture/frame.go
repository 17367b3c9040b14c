package capture

import (
	"time"

	"github.com/weir-lb/weir/topo/probe/packet"
)

// Frame is one captured frame.
type Frame struct {
	Time      time.Time // the kernel's, when the frame passed
	Node      string    // as in Options
	Interface string
	Outgoing  bool   // the node sent it
	Partial   bool   // CHECKSUM_PARTIAL: the L4 checksum was left for a device to complete
	Length    int    // bytes on the wire, without frame check sequence
	Data      []byte // from the Ethernet header on, at most Options.Snaplen bytes; not to be written to
}

// Verify checks the frame's checksums: of a Partial one the sum of the pseudo header that a device would complete. It
// returns packet.ErrTruncated when the capture has only a part of the frame.
func (f Frame) Verify() error {
	if f.Partial {
		return packet.VerifyPartial(f.Data)
	}
	return packet.Verify(f.Data)
}

// Packet takes the frame apart.
func (f Frame) Packet() (packet.Packet, error) { return packet.Parse(f.Data) }

// Where turns a condition on packets into one on frames; frames that are not IPv4 do not match.
func Where(match func(packet.Packet) bool) func(Frame) bool {
	return func(f Frame) bool {
		p, err := f.Packet()
		return err == nil && match(p)
	}
}
