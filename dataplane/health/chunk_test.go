package health

import (
	"encoding/hex"
	"testing"
)

var probing = association{source: 50000, destination: 9999, tag: 0x01020304}

// reply builds what a peer answers.
func reply(a association, verification uint32, kind, flags byte, body []byte) []byte {
	p := association{source: a.destination, destination: a.source}.packet(verification, kind, len(body))
	p[sctpHeader+1] = flags
	copy(p[sctpHeader+sctpChunk:], body)
	return seal(p)
}

func initAckBody(tag byte) []byte {
	return []byte{0, 0, 0, tag, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 9}
}

// The bytes were read back by tshark, the checksums by a second CRC32c.
func TestPackets(t *testing.T) {
	for name, tt := range map[string]struct {
		packet []byte
		want   string
	}{
		"init":  {probing.init(7), "c350270f00000000" + "1256f91c" + "01000014" + "01020304" + "0000ffff" + "0001" + "0001" + "00000007"},
		"abort": {probing.abort(0xa0b0c0d0), "c350270fa0b0c0d0" + "a46225eb" + "06000004"},
	} {
		if got := hex.EncodeToString(tt.packet); got != tt.want {
			t.Errorf("%s is\n%s, want\n%s", name, got, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	ack := reply(probing, probing.tag, chunkInitAck, 0, initAckBody(7))
	change := func(at int, to byte) []byte {
		p := append([]byte(nil), ack...)
		p[at] = to
		return seal(p)
	}
	damaged := append([]byte(nil), ack...)
	damaged[len(damaged)-1] ^= 1
	pending := append([]byte(nil), ack...)
	copy(pending[8:], []byte{0, 0, 0, 0})
	tests := []struct {
		name   string
		packet []byte
		want   answer
		peer   uint32
	}{
		{"INIT ACK", ack, accepted, 7},
		{"INIT ACK with parameters", reply(probing, probing.tag, chunkInitAck, 0, append(initAckBody(8), 0, 7, 0, 8, 1, 2, 3, 4)), accepted, 8},
		{"INIT ACK whose checksum the device should have filled in", pending, accepted, 7},
		{"INIT ACK to another port", change(3, 1), unrelated, 0},
		{"INIT ACK from another port", change(1, 1), unrelated, 0},
		{"INIT ACK with another's tag", change(7, 1), unrelated, 0},
		{"INIT ACK with a damaged bit", damaged, unrelated, 0},
		{"INIT ACK without an initiate tag", reply(probing, probing.tag, chunkInitAck, 0, initAckBody(0)), unrelated, 0},
		{"INIT ACK longer than the packet", change(15, 200), unrelated, 0},
		{"INIT ACK shorter than it must be", change(15, 8), unrelated, 0},
		{"ABORT", reply(probing, probing.tag, chunkAbort, 0, nil), refused, 0},
		{"ABORT with a cause", reply(probing, probing.tag, chunkAbort, 0, []byte{0, 3, 0, 4}), refused, 0},
		{"ABORT with a reflected tag", reply(probing, probing.tag, chunkAbort, abortReflected, nil), unrelated, 0},
		{"ABORT with another's tag", reply(probing, 1, chunkAbort, 0, nil), unrelated, 0},
		{"DATA", reply(probing, probing.tag, 0, 0, make([]byte, 16)), unrelated, 0},
		{"cut in the header", ack[:15], unrelated, 0},
		{"nothing", nil, unrelated, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, peer := probing.read(tt.packet); got != tt.want || peer != tt.peer {
				t.Errorf("got %d with tag %d, want %d with %d", got, peer, tt.want, tt.peer)
			}
		})
	}
}

func TestQuotedBy(t *testing.T) {
	init := probing.init(1)
	other := association{source: 50001, destination: 9999, tag: 1}.init(1)
	for name, tt := range map[string]struct {
		quote []byte
		want  bool
	}{
		"our INIT whole":          {init, true},
		"8 bytes of it":           {init[:8], true},
		"less":                    {init[:7], false},
		"another port's":          {other, false},
		"a packet of a flow":      {probing.abort(5), false},
		"an empty error":          {nil, false},
		"what the peer sent back": {reply(probing, 0, chunkInit, 0, nil), false},
	} {
		if got := probing.quotedBy(tt.quote); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(reply(probing, probing.tag, chunkInitAck, 0, initAckBody(7)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		what, peer := probing.read(withoutIP(append([]byte{0x45, 19: 0}, p...)))
		if (what == accepted) != (peer != 0) {
			t.Errorf("%d with tag %d", what, peer)
		}
		withoutIP(p)
		probing.quotedBy(p)
	})
}
