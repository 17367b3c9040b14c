package gobgp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// corpus has the messages that the interop suite sends to a weir that runs.
const corpus = "../../scenarios/interop/testdata/malformed"

// FuzzMessage reads a message as GoBGP's sessions do and shows it as the gobgp
// command does: a panic there would end weir, and nothing of ours can catch it.
func FuzzMessage(f *testing.F) {
	files, err := filepath.Glob(corpus + "/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus in %s: %v", corpus, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(messageOf(string(text)), false)
		f.Add(messageOf(string(text)), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, twoByteAS bool) {
		if len(data) < packet.BGP_HEADER_LENGTH {
			return
		}
		header := &packet.BGPHeader{}
		if header.DecodeFromBytes(data) != nil {
			return
		}
		body := data[packet.BGP_HEADER_LENGTH:]
		if want := int(binary.BigEndian.Uint16(data[16:])) - packet.BGP_HEADER_LENGTH; want >= 0 && want < len(body) {
			body = body[:want]
		}
		m, err := packet.ParseBGPBody(header, body, &packet.MarshallingOption{Use2ByteAS: twoByteAS})
		if m == nil {
			if err == nil {
				t.Fatal("neither a message nor an error")
			}
			return
		}
		if update, ok := m.Body.(*packet.BGPUpdate); ok && err == nil {
			families := map[packet.Family]packet.BGPAddPathMode{packet.RF_IPv4_UC: packet.BGP_ADD_PATH_NONE}
			for _, external := range []bool{false, true} {
				_, _ = packet.ValidateUpdateMsg(update, families, external, false, false)
			}
			for _, a := range update.PathAttributes {
				_ = a.String()
			}
		}
		if isTaken(err) {
			_, _ = m.Serialize()
		}
	})
}

// isTaken tells whether what a message with this error announces is kept, and may be sent on: all of it, or without some
// attributes. Of any other a session keeps nothing but what it withdraws (RFC 7606).
func isTaken(err error) bool {
	var e *packet.MessageError
	return err == nil || errors.As(err, &e) && e.ErrorHandling == packet.ERROR_HANDLING_ATTRIBUTE_DISCARD
}

// messageOf takes the bytes out of a file of the corpus.
func messageOf(text string) []byte {
	var out []byte
	for line := range strings.Lines(text) {
		if b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(line), " ", "")); err == nil {
			out = append(out, b...)
		}
	}
	return out
}
