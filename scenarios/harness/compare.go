package harness

import (
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// Between keeps the frames from one address and port to another.
func Between(all []capture.Frame, src, dst netip.AddrPort) []capture.Frame {
	var frames []capture.Frame
	for _, f := range all {
		if p, err := f.Packet(); err == nil && p.Src == src && p.Dst == dst {
			frames = append(frames, f)
		}
	}
	return frames
}

// CompareFrames says how what arrived differs from what was sent and translated: ""
// when each packet arrived once, with exactly the right bytes.
func CompareFrames(sent, arrived []capture.Frame, t packet.Translation) string {
	if len(sent) == 0 {
		return "nothing was sent"
	}
	for _, f := range sent {
		if diff := find(f, arrived, t); diff != "" {
			return diff
		}
	}
	if len(arrived) != len(sent) {
		return fmt.Sprintf("%d packets were sent, %d arrived", len(sent), len(arrived))
	}
	return ""
}

// find looks for the packet among those that arrived. A retransmission has the
// identity of the first packet and other bytes, so any may be the one.
func find(sent capture.Frame, arrived []capture.Frame, t packet.Translation) string {
	p, err := sent.Packet()
	if err != nil {
		return err.Error()
	}
	want, err := packet.Translate(sent.Data, t)
	if err != nil {
		return err.Error()
	}
	id, _ := packet.Identify(sent.Data) // it parsed a moment ago
	lost := fmt.Sprintf("%s was sent and did not arrive", p)
	for _, f := range arrived {
		other, err := packet.Identify(f.Data)
		if err != nil || other != id {
			continue
		}
		diff := DiffFrame(want, f)
		if diff == "" {
			return ""
		}
		lost = fmt.Sprintf("%s arrived changed:\n%s", p, diff)
	}
	return lost
}
