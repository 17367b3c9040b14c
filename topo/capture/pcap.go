package capture

import (
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// recorder writes pcapng until its limit or the first error. A nil writer records nothing.
type recorder struct {
	writer *pcapgo.NgWriter
	left   int // bytes
	err    error
}

func newRecorder(o Options) (*recorder, error) {
	if o.Pcap == nil {
		return &recorder{}, nil
	}
	iface := pcapgo.NgInterface{
		Name: o.Interface, Description: o.Node, LinkType: layers.LinkTypeEthernet, SnapLength: uint32(o.Snaplen), OS: "linux",
	}
	w, err := pcapgo.NewNgWriterInterface(o.Pcap, iface, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		return nil, fmt.Errorf("write pcapng of %s: %w", o.Interface, err)
	}
	return &recorder{writer: w, left: o.PcapLimit}, nil
}

func (r *recorder) write(f Frame) {
	if r.writer == nil || r.err != nil || r.left < len(f.Data) {
		r.left = min(r.left, 0) // once over the limit, later small frames would make gaps
		return
	}
	r.left -= len(f.Data)
	info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: f.Length}
	if err := r.writer.WritePacket(info, f.Data); err != nil {
		r.err = fmt.Errorf("write pcapng: %w", err)
	}
}

func (r *recorder) flush() error {
	if r.writer == nil || r.err != nil {
		return r.err
	}
	if err := r.writer.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}
