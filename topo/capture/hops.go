package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-lb/weir/topo/probe/packet"
)

// Hop is one packet at one interface.
type Hop struct {
	Frame  Frame
	Packet packet.Packet
}

// String is one line: "client eth1 > 192.168.80.1:40000 -> 123.123.123.1:55002 tcp SYN ttl 64"; ">" is out, "<" is in.
func (h Hop) String() string {
	direction := "<"
	if h.Frame.Outgoing {
		direction = ">"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", h.Frame.Node, h.Frame.Interface, direction, h.Packet))
}

// Path is a packet's way, in the order of time.
type Path []Hop

// String is a line for each hop.
func (p Path) String() string {
	lines := make([]string, len(p))
	for i, h := range p {
		lines[i] = h.String()
	}
	return strings.Join(lines, "\n")
}

// Hops follows one packet through the captures: every interface at which it was seen, each direction once, whatever NAT
// has made of its addresses and ports. The packet is known again by what no NAT changes (packet.Identity).
func Hops(f Frame, captures ...*Capture) (Path, error) {
	id, err := packet.Identify(f.Data)
	if err != nil {
		return nil, fmt.Errorf("follow packet: %w", err)
	}
	var path Path
	for _, c := range captures {
		path = append(path, c.sightings(id)...)
	}
	slices.SortStableFunc(path, func(a, b Hop) int { return a.Frame.Time.Compare(b.Frame.Time) })
	return path, nil
}

// sightings returns the first frame of that identity in each direction; a second is a retransmission.
func (c *Capture) sightings(id packet.Identity) Path {
	var path Path
	seen := map[bool]bool{}
	for _, f := range c.Frames() {
		if other, err := packet.Identify(f.Data); err != nil || other != id || seen[f.Outgoing] {
			continue
		}
		seen[f.Outgoing] = true
		p, _ := f.Packet() // it parsed a moment ago
		path = append(path, Hop{f, p})
	}
	return path
}
