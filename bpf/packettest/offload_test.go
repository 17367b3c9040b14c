package packettest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// Packets as a sender on the same machine hands them to TC: the checksum holds
// the pseudo-header's sum alone (CHECKSUM_PARTIAL), and many segments are one skb
// (GSO). Both must leave in that state, so that the device can finish them.
func TestOffloadedPackets(t *testing.T) {
	const client = "client:40000"
	w := newWorld(t)
	tcpFlow := pair("flows", "established", "tcp", client, "vip:80", "vip:50000", "b1:8080")
	udpFlow := pair("flows", "established", "udp", client, "vip:53", "vip:50000", "b1:5353")
	data := tcpPacket(client, "vip:80", ack)
	for _, c := range []struct {
		name   string
		flow   []string
		in     pkt
		dst    string
		header vnetHeader
	}{
		{"TCP with a partial checksum", tcpFlow, data.withPayload(1000), "b1:8080", vnetHeader{}},
		{"TCP with a partial checksum and an odd payload", tcpFlow, data.withPayload(999), "b1:8080", vnetHeader{}},
		{"UDP with a partial checksum", udpFlow, udpPacket(client, "vip:53", "").withPayload(700), "b1:5353", vnetHeader{}},
		{"TCP of 40 segments", tcpFlow, data.withPayload(40 * 1448), "b1:8080",
			vnetHeader{GSOType: vnetGSOTCP4, GSOSize: 1448, HeaderLength: 54}},
		{"TCP of 7 segments, the last one short", tcpFlow, data.withPayload(6*1448 + 1), "b1:8080",
			vnetHeader{GSOType: vnetGSOTCP4, GSOSize: 1448, HeaderLength: 54}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.program(newState(), c.flow); err != nil {
				t.Fatal(err)
			}
			c.in = c.in.withMACs(macOf("client"), nicByName("slow0").mac())
			frame := c.in.bytes()
			header := c.header
			header.Flags, header.SumStart = vnetNeedsSum, 34
			header.SumOffset = map[uint8]uint16{tcp: 16, udp: 6}[c.in.proto]
			copy(frame[34+header.SumOffset:], pseudoHeaderSum(frame))

			gotHeader, got := w.transferOffloaded(t, header, frame)
			if gotHeader.GSOSize != header.GSOSize || gotHeader.GSOType != header.GSOType {
				t.Errorf("left as GSO type %d of %d bytes, want type %d of %d",
					gotHeader.GSOType, gotHeader.GSOSize, header.GSOType, header.GSOSize)
			}
			if gotHeader.Flags&vnetNeedsSum != 0 {
				finishSum(got, gotHeader)
			}
			want := c.in.nat("vip:50000", c.dst, "b1").bytes()
			if !bytes.Equal(got, want) {
				t.Errorf("with the checksum finished the packet differs:\n%s", describe(frame, want, got))
			}
			w.audit(t, bpf.HookTC, 1)
		})
	}
}

// Answers to packets whose checksum is not finished: nothing of what the device was
// asked to do for the packet that came may be left for the answer.
func TestOffloadedPacketsAreAnswered(t *testing.T) {
	const client = "client:40000"
	w := newWorld(t)
	narrow := pair("flows", "established", "tcp", client, "vip:85", "vip:40000", "narrow:8080")
	media := pair("flows", "established", "udp", client, "vip:53", "vip:40001", "narrow:8080")
	expired, tooLong := complaint("100.64.0.1", timeExceeded, 0, 0), complaint("100.64.0.1", unreachable, fragmentationNeeded, 1400)
	for _, c := range []struct {
		name   string
		flow   []string
		in     pkt
		header vnetHeader
		want   answer
	}{
		{"a SYN to a closed port", nil, tcpPacket(client, "vip:4444", syn), vnetHeader{}, reset},
		{"a SYN with options", nil, tcpPacket(client, "vip:4444", syn).withTCPOptions(2, 4, 5, 0xb4), vnetHeader{}, reset},
		{"a datagram to a closed port", nil, udpPacket(client, "vip:4444", "hello"), vnetHeader{}, complaint("vip", unreachable, portUnreachable, 0)},
		{"a segment with TTL 1", narrow, tcpPacket(client, "vip:85", ack).withPayload(100).withTTL(1), vnetHeader{}, expired},
		{"a datagram too long", media, udpPacket(client, "vip:53", "").withPayload(1440), vnetHeader{}, tooLong},
		{"20 segments too long", narrow, tcpPacket(client, "vip:85", ack).withPayload(20 * 1448),
			vnetHeader{GSOType: vnetGSOTCP4, GSOSize: 1448, HeaderLength: 54}, tooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.program(newState(), c.flow); err != nil {
				t.Fatal(err)
			}
			c.in = c.in.withMACs(macOf("client"), nicByName("slow0").mac())
			frame := c.in.bytes()
			header := c.header
			header.Flags, header.SumStart = vnetNeedsSum, 34
			header.SumOffset = map[uint8]uint16{tcp: 16, udp: 6}[c.in.proto]
			c.in = c.in.with(34+int(header.SumOffset), pseudoHeaderSum(frame)...) // and so it is quoted

			gotHeader, got := w.answerOffloaded(t, header, c.in.bytes())
			if gotHeader.GSOType != 0 || gotHeader.Flags&vnetNeedsSum != 0 {
				t.Errorf("the device is asked to work on the answer: %+v", gotHeader)
			}
			want := c.want(&row{from: "slow0", in: c.in})
			if !bytes.Equal(got, want) {
				t.Errorf("the answer differs:\n%s", describe(frame, want, got))
			}
			if l4Error(got, 34) != 0 {
				t.Errorf("the answer's checksum is wrong by %#x", l4Error(got, 34))
			}
			w.audit(t, bpf.HookTC, 1)
		})
	}
}

// answerOffloaded is transferOffloaded for what comes back.
func (w *world) answerOffloaded(t *testing.T, header vnetHeader, frame []byte) (got vnetHeader, out []byte) {
	t.Helper()
	return w.transferBetween(t, nicByName("slow0"), nicByName("slow0"), header, frame)
}

// transferOffloaded sends by a device without XDP, which would finish checksums
// and cut segments before TC sees them.
func (w *world) transferOffloaded(t *testing.T, header vnetHeader, frame []byte) (got vnetHeader, out []byte) {
	t.Helper()
	return w.transferBetween(t, nicByName("slow0"), nicByName("server0"), header, frame)
}

func (w *world) transferBetween(t *testing.T, from, to *nic, header vnetHeader, frame []byte) (got vnetHeader, out []byte) {
	t.Helper()
	var err error
	w.do(func() {
		var x *wire
		if x, err = w.newWire(from, to); err != nil {
			return
		}
		if got, out, err = x.transfer(header, frame); err == nil {
			err = x.close()
		}
	})
	if err != nil {
		t.Fatal(fmt.Errorf("send through %s: %w", from.name, err))
	}
	return got, out
}

// pseudoHeaderSum returns what a sender leaves in the checksum field.
func pseudoHeaderSum(frame []byte) []byte {
	sum := onesSum(frame[26:34]) + uint32(frame[23]) + uint32(ipLength(frame)-20)
	return binary.BigEndian.AppendUint16(nil, fold(sum))
}

// finishSum does what the device does.
func finishSum(frame []byte, header vnetHeader) {
	sum := ^fold(onesSum(frame[header.SumStart:]))
	binary.BigEndian.PutUint16(frame[header.SumStart+header.SumOffset:], sum)
}

func onesSum(b []byte) (sum uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
		sum = sum&0xffff + sum>>16
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
