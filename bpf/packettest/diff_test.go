package packettest

import (
	"fmt"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// describe prints the packet that came in, the one expected and the one that
// came out, layer by layer, then the bytes with those that differ marked.
func describe(in, want, got []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "in:\n%swant:\n%sgot:\n%s", layersOf(in), layersOf(want), layersOf(got))
	b.WriteString(markBytes(want, got))
	return b.String()
}

func layersOf(frame []byte) string {
	var b strings.Builder
	for _, l := range gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layers() {
		text := gopacket.LayerString(l)
		if len(text) > 300 {
			text = text[:300] + "..."
		}
		fmt.Fprintf(&b, "    %s\n", text)
	}
	return b.String()
}

// markBytes prints lines of 16 bytes that differ, with ^^ under each such byte.
func markBytes(want, got []byte) string {
	var b strings.Builder
	if len(want) != len(got) {
		fmt.Fprintf(&b, "lengths: want %d, got %d bytes\n", len(want), len(got))
	}
	for at := 0; at < max(len(want), len(got)); at += 16 {
		wantLine, gotLine, marks, differ := "", "", "", false
		for i := at; i < at+16; i++ {
			w, g := hexByte(want, i), hexByte(got, i)
			wantLine, gotLine = wantLine+w, gotLine+g
			if w != g {
				marks, differ = marks+"^^ ", true
			} else {
				marks += "   "
			}
		}
		if differ {
			fmt.Fprintf(&b, "%04x want %s\n     got  %s\n          %s\n", at, wantLine, gotLine, marks)
		}
	}
	return b.String()
}

func hexByte(b []byte, i int) string {
	if i >= len(b) {
		return "   "
	}
	return fmt.Sprintf("%02x ", b[i])
}
