package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var header = Header{
	SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	Src: netip.MustParseAddrPort("192.168.80.1:40000"), Dst: netip.MustParseAddrPort("123.123.123.1:55002"),
	ID: 7, DF: true,
}

func must(t *testing.T) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// frames has one frame of each protocol, with payloads of odd length.
func frames(t *testing.T) map[Protocol][]byte {
	t.Helper()
	big := bytes.Repeat([]byte{0xa5}, 8900)
	return map[Protocol][]byte{
		TCP:  must(t)(TCPFrame(header, layers.TCP{PSH: true, ACK: true, Seq: 1, Ack: 2, Window: 512}, []byte("hello"))),
		UDP:  must(t)(UDPFrame(header, []byte("odd"))),
		SCTP: must(t)(SCTPFrame(header, 99, Data(5, 0, 0, big))),
	}
}

func TestVerifyAcceptsRightChecksums(t *testing.T) {
	for p, frame := range frames(t) {
		if err := Verify(frame); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// The known answers come from elsewhere: the usual worked example of an IPv4 header, and RFC 3720's CRC32c.
func TestChecksumsAgreeWithKnownAnswers(t *testing.T) {
	ip := []byte{0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7}
	if got := (&layout{ip: ip, ihl: 20}).ipWants(); got != 0xb861 {
		t.Errorf("IPv4 header checksum = %#x, want 0xb861", got)
	}
	// 32 bytes of zeros, whatever stands in the checksum field (RFC 3720, appendix B.4).
	zeros := make([]byte, 32)
	binary.BigEndian.PutUint32(zeros[8:], 0xdeadbeef)
	if got := CRC32c(zeros); got != 0x8a9136aa {
		t.Errorf("CRC32c = %#x, want 0x8a9136aa", got)
	}
}

func TestVerifyCatchesEveryFlippedChecksumBit(t *testing.T) {
	for p, frame := range frames(t) {
		at := checksumAt[p]
		for bit := 0; bit < (at.end-at.start)*8; bit++ {
			bad := bytes.Clone(frame)
			bad[ethernetLen+20+at.start+bit/8] ^= 1 << (bit % 8)
			if err := Verify(bad); !errors.Is(err, checksumError[p]) || errors.Is(err, ErrIPChecksum) {
				t.Errorf("%s bit %d: %v", p, bit, err)
			}
		}
		for bit := range 16 {
			bad := bytes.Clone(frame)
			bad[ethernetLen+10+bit/8] ^= 1 << (bit % 8)
			if err := Verify(bad); !errors.Is(err, ErrIPChecksum) || errors.Is(err, checksumError[p]) {
				t.Errorf("%s IP bit %d: %v", p, bit, err)
			}
		}
	}
}

func TestVerifyCatchesEveryFlippedPayloadAndPortBit(t *testing.T) {
	for p, frame := range frames(t) {
		for _, at := range []int{0, 3, len(frame) - ethernetLen - 20 - 1} {
			bad := bytes.Clone(frame)
			bad[ethernetLen+20+at] ^= 1
			if err := Verify(bad); !errors.Is(err, checksumError[p]) {
				t.Errorf("%s byte %d: %v", p, at, err)
			}
		}
	}
}

func TestCorruptDamagesOnlyTheNamedField(t *testing.T) {
	for p, frame := range frames(t) {
		if err := Verify(must(t)(Corrupt(frame, IPChecksum))); !errors.Is(err, ErrIPChecksum) || errors.Is(err, checksumError[p]) {
			t.Errorf("%s: %v", p, err)
		}
		if err := Verify(must(t)(Corrupt(frame, L4Checksum))); errors.Is(err, ErrIPChecksum) || !errors.Is(err, checksumError[p]) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestUDPWithoutChecksumIsRight(t *testing.T) {
	frame := frames(t)[UDP]
	binary.BigEndian.PutUint16(frame[ethernetLen+26:], 0)
	if err := Verify(frame); err != nil {
		t.Error(err)
	}
}

func TestVerifyPartialChecksThePseudoHeaderSum(t *testing.T) {
	for _, p := range []Protocol{TCP, UDP} {
		frame := frames(t)[p]
		l, err := locate(frame)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyPartial(frame); !errors.Is(err, checksumError[p]) {
			t.Errorf("%s: a complete checksum passed as partial: %v", p, err)
		}
		l.putChecksum(uint32(l.pseudoSum()))
		if err := VerifyPartial(frame); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestVerifyRefusesWhatItCannotRead(t *testing.T) {
	frame := frames(t)[TCP]
	lying := bytes.Clone(frame)
	binary.BigEndian.PutUint16(lying[ethernetLen+2:], 2000)
	arp := bytes.Clone(frame)
	arp[12], arp[13] = 8, 6
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"empty": {nil, ErrTruncated}, "cut in IPv4": {frame[:20], ErrTruncated}, "cut in TCP": {frame[:40], ErrTruncated},
		"total length beyond the frame": {lying, ErrTruncated}, "ARP": {arp, ErrNotIPv4},
	} {
		if err := Verify(c.frame); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	got, err := Parse(frames(t)[TCP])
	if err != nil {
		t.Fatal(err)
	}
	want := Packet{
		SrcMAC: "02:00:00:00:00:01", DstMAC: "02:00:00:00:00:02", Src: header.Src, Dst: header.Dst, Protocol: TCP, TTL: 64,
		ID: 7, DF: true, Length: 45, Flags: "PSH ACK", Seq: 1, Ack: 2, Payload: 5, PayloadSum: shortSum([]byte("hello")),
	}
	if diff := cmp.Diff(want, got, CmpOptions); diff != "" {
		t.Error(diff)
	}
	if s := got.String(); s != "192.168.80.1:40000 -> 123.123.123.1:55002 tcp PSH ACK 5 bytes ttl 64" {
		t.Error(s)
	}
}

func TestParseReadsVLANAndPadding(t *testing.T) {
	plain := must(t)(UDPFrame(header, []byte("x")))
	tagged := append(bytes.Clone(plain[:12]), 0x81, 0, 0, 5)
	tagged = append(append(tagged, plain[12:]...), make([]byte, 20)...)
	p, err := Parse(tagged)
	if err != nil || p.Payload != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if diff := DiffIP(plain, tagged); diff != "" {
		t.Error(diff)
	}
	if err := Verify(tagged); err != nil {
		t.Error(err)
	}
}

// gopacket must read what the chunk builders lay out: two independent hands.
func TestCraftedChunksAreReadByGopacket(t *testing.T) {
	init := Init(Handshake{Tag: 77, TSN: 5}, AddressParam(netip.MustParseAddr("10.1.2.3")))
	frame := must(t)(SCTPFrame(header, 0, init))
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	got, ok := p.Layer(layers.LayerTypeSCTPInit).(*layers.SCTPInit)
	if !ok || got.InitiateTag != 77 || got.InitialTSN != 5 || len(got.Parameters) != 1 || got.InboundStreams != 1 {
		t.Errorf("%+v", got)
	}
	if tag, ok := InitTag(frame[14+20:]); !ok || tag != 77 {
		t.Errorf("INIT with tag %d, %t", tag, ok)
	}
	several := must(t)(SCTPFrame(header, 3, Chunk{Type: ChunkCookieAck}, Data(1, 2, 3, []byte("abc")), Abort("enough")))
	packet, err := Parse(several)
	if err != nil || packet.Flags != "COOKIE ACK,DATA,ABORT" || packet.Tag != 3 {
		t.Errorf("%+v, %v", packet, err)
	}
	if tag, ok := InitTag(several[14+20:]); ok {
		t.Errorf("COOKIE ACK is an INIT with tag %d", tag)
	}
	asked := bytes.Clone(several)
	asked[14+20+12+4+1] = 0x0b // of DATA, which is a whole message
	if AskForSACK(several[14+20:]); !bytes.Equal(several, asked) {
		t.Errorf("asked for a SACK by % x, want % x", several, asked)
	}
	data := gopacket.NewPacket(several, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeSCTPData)
	if d, ok := data.(*layers.SCTPData); !ok || d.TSN != 1 || d.StreamId != 2 || d.StreamSequence != 3 {
		t.Errorf("%+v", data)
	}
}

func TestTranslateIsWhatANATShouldSend(t *testing.T) {
	src, dst := netip.MustParseAddrPort("123.123.123.1:41000"), netip.MustParseAddrPort("192.168.80.101:32694")
	for p, frame := range frames(t) {
		out := must(t)(Translate(frame, Translation{Src: src, Dst: dst, TTLDown: 1}))
		if err := Verify(out); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		got, err := Parse(out)
		if err != nil || got.Src != src || got.Dst != dst || got.TTL != 63 {
			t.Errorf("%s: %s, %v", p, got, err)
		}
		before, _ := Identify(frame)
		after, _ := Identify(out)
		if before != after {
			t.Errorf("%s: identity changed from %+v to %+v", p, before, after)
		}
		diff := DiffIP(frame, out)
		if !strings.Contains(diff, "from byte 8 on") || !strings.Contains(diff, "TTL:") {
			t.Errorf("%s: %s", p, diff)
		}
	}
}

func TestIdentityOfInitIgnoresStrippedAddresses(t *testing.T) {
	h := Handshake{Tag: 77, TSN: 5}
	with := must(t)(SCTPFrame(header, 0, Init(h, AddressParam(netip.MustParseAddr("10.1.2.3")))))
	without := must(t)(SCTPFrame(header, 0, Init(h)))
	other := must(t)(SCTPFrame(header, 0, Init(Handshake{Tag: 78, TSN: 5})))
	a, _ := Identify(with)
	b, _ := Identify(without)
	c, _ := Identify(other)
	if a != b || a == c {
		t.Errorf("%+v\n%+v\n%+v", a, b, c)
	}
}

func TestFragmentsJoinToTheWhole(t *testing.T) {
	frame := frames(t)[SCTP]
	parts, err := Fragments(frame, 1500)
	if err != nil || len(parts) != 7 {
		t.Fatalf("%d fragments, %v", len(parts), err)
	}
	var whole []byte
	for i, part := range parts {
		p, err := Parse(part)
		if err != nil || p.Length > 1500 || p.Offset != len(whole) || p.MF != (i < len(parts)-1) {
			t.Errorf("fragment %d: %+v, %v", i, p, err)
		}
		if err := Verify(part); err != nil {
			t.Errorf("fragment %d: %v", i, err)
		}
		whole = append(whole, part[ethernetLen+20:]...)
	}
	if !bytes.Equal(whole, frame[ethernetLen+20:]) {
		t.Error("the fragments do not add up to the packet")
	}
	if _, err := Fragments(frame, 24); err == nil {
		t.Error("a fragment without room for 8 bytes was made")
	}
}
