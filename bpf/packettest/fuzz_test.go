package packettest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
)

const fuzzPackets = 200_000

// Random and mutated packets: each is accounted for once; what is passed on is
// not touched; what is sent keeps its length and payload, and its checksums are as
// right or as wrong as they were, by the same error. Answers are whole packets to
// whoever sent, and none is longer than what it answers but by an ICMP error's headers.
func TestRandomPackets(t *testing.T) {
	packets := fuzzPackets
	if testing.Short() { // on a machine that is emulated
		packets /= 10
	}
	everyHook(t, func(t *testing.T, w *world, hook bpf.Hook) {
		if err := w.program(newState(), fuzzFlows()); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(2026, uint64(hook)))
		seeds := fuzzSeeds()
		fates := make(map[string]int)
		w.do(func() {
			for n := range packets {
				if n%1000 == 0 {
					if err := w.fillBuckets(); err != nil {
						t.Error(err)
					}
				}
				frame := mutate(random, seeds[random.IntN(len(seeds))])
				fate, err := w.judged(hook, nics[random.IntN(2)], frame)
				fates[fate]++
				if err != nil {
					t.Errorf("packet %d: %v", n, err)
					return
				}
			}
		})
		w.audit(t, hook, uint64(packets))
		for _, fate := range []string{"sent", "passed", "dropped", "answered", "translated"} {
			if fates[fate] < packets/200 {
				t.Errorf("only %d packets were %s: the generator does not reach it", fates[fate], fate)
			}
		}
		counters, err := w.counters(hook)
		t.Logf("%v, counters %v, %v", fates, counters, err)
	})
}

// FuzzPacket holds the same of each frame that the search comes to, on its own: a
// world of known flows, and one packet that is accounted for once.
func FuzzPacket(f *testing.F) {
	w := newWorld(f)
	seeds := fuzzSeeds()
	for i := 0; i < len(seeds); i += 3 { // the search comes to the others
		f.Add(seeds[i], uint8(i/3), uint8(i/6))
	}
	f.Fuzz(func(t *testing.T, frame []byte, hook, device uint8) {
		if !testable(frame) {
			return
		}
		at := bpf.Hooks()[int(hook)%len(bpf.Hooks())]
		if err := w.program(newState(), fuzzFlows()); err != nil {
			t.Fatal(err)
		}
		var err error
		w.do(func() { _, err = w.judged(at, nics[device%2], frame) })
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		w.audit(t, at, 1)
	})
}

// testable says that test_run takes a frame with any program: the kernel refuses one
// without the whole header that its type promises, and for XDP one longer than a page less
// what goes around it.
func testable(frame []byte) bool {
	const ethernet, ipv4, ipv6, longest = 14, 20, 40, 3000
	shortest := ethernet + ipv4
	if len(frame) >= ethernet && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6 {
		shortest = ethernet + ipv6
	}
	return len(frame) >= shortest && len(frame) <= longest
}

// judged runs a frame and returns what became of it, and what is wrong about that. It
// is called on the namespace's thread.
func (w *world) judged(hook bpf.Hook, from *nic, frame []byte) (fate string, err error) {
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64), Context: runContext(hook, from, len(frame), 0)}
	verdict, err := w.programs[hook].Run(options)
	if err != nil {
		return "", err
	}
	fate, problem := judge(hook, verdict, frame, options.DataOut)
	if problem != "" {
		return fate, fmt.Errorf("%s\n%s", problem, describe(frame, frame, options.DataOut))
	}
	return fate, nil
}

// fuzzFlows are those of some of the seeds.
func fuzzFlows() []string {
	return both(
		pair("flows", "established", "tcp", "client:1", "vip:80", "vip:1", "b1:8080"),
		pair("flows", "established", "udp", "client:1", "vip:53", "vip:2", "b1:5353"),
		pair("flows", "established", "sctp", "client:1", "vip:9999", "vip:3", "b1:9998"),
		pair("flows", "established", "tcp", "client:2", "vip:81", "client:2", "b1:8080"),
		with(pair("flows", "established", "tcp", "client:5", "vip:70", "client:5", "lb:30080"), "up", "pair-up"),
		with(pair("flows", "established", "udp", "lb:6", "vip:71", "vip:6", "lb:30053"), "up pair-up", "up pair-up"))
}

func fuzzSeeds() [][]byte {
	var packets []pkt
	for _, c := range []struct{ src, dst string }{
		{"client:1", "vip:80"}, {"client:2", "vip:81"}, {"client:3", "vip:82"}, {"client:4", "vip:4444"},
		{"b1:8080", "vip:1"}, {"b1:8080", "client:2"}, {"client:7", "b2:80"}, {"vip:80", "vip:80"},
		{"client:5", "vip:70"}, {"lb:30080", "client:5"}, {"lb:7", "vip:80"}, {"lb:7", "vip:70"},
	} {
		for _, flags := range []int{syn, syn | ack, ack, ack | psh, fin | ack, rst} {
			packets = append(packets, tcpPacket(c.src, c.dst, flags).withPayload(flags*11))
		}
	}
	for _, c := range []struct{ src, dst string }{
		{"client:1", "vip:53"}, {"client:2", "vip:54"}, {"b1:5353", "vip:2"}, {"client:9", "vip:9"}, {"lb:6", "vip:71"}, {"lb:30053", "vip:6"},
	} {
		packets = append(packets, udpPacket(c.src, c.dst, "hello"), udpPacket(c.src, c.dst, "").padded(60),
			udpPacket(c.src, c.dst, "none").withoutSum(), udpPacket(c.src, c.dst, "o").withIPOptions(148, 4, 0, 0))
	}
	for _, chunk := range []uint8{chunkInit, chunkInitAck, chunkData, chunkSack, chunkAbort, chunkShutdownComplete} {
		packets = append(packets, sctpPacket("client:1", "vip:9999", chunk).withPayload(40),
			sctpPacket("client:8", "vip:9001", chunk), sctpPacket("b1:9998", "vip:3", chunk).withPayload(300))
	}
	packets = append(packets, echoRequest("client", "vip", 56), echoRequest("client", "vip", 5).padded(60))
	for _, quoted := range []int{8, 16, 20, 0} {
		packets = append(packets,
			icmpError("b1", unreachable, fragmentationNeeded, 1400, tcpPacket("vip:1", "b1:8080", ack), quoted),
			icmpError("b1", timeExceeded, 0, 0, udpPacket("vip:2", "b1:5353", "hello, backend"), quoted),
			icmpError("b2", parameterProblem, 0, 0, sctpPacket("vip:3", "b1:9998", chunkData).withPayload(40), quoted),
			icmpError("client", unreachable, portUnreachable, 0, tcpPacket("vip:81", "client:2", ack), quoted))
	}
	var frames [][]byte
	for i := range packets {
		frames = append(frames, (&row{in: packets[i]}).frame())
	}
	return frames
}

// mutate changes a few bytes of the headers, the length or nothing.
func mutate(random *rand.Rand, seed []byte) []byte {
	frame := slices.Clone(seed)
	for range random.IntN(4) {
		frame[12+random.IntN(min(len(frame)-12, 60))] = byte(random.Uint32())
	}
	switch random.IntN(12) {
	case 0:
		frame = frame[:max(34, random.IntN(len(frame)+1))]
	case 1:
		frame = append(frame, make([]byte, random.IntN(80))...)
	case 2:
		frame[14] = 0x40 | byte(random.IntN(16))
	}
	return frame
}

// judge returns what became of the frame, and what is wrong about it, if anything.
func judge(hook bpf.Hook, verdict uint32, in, out []byte) (fate, problem string) {
	switch {
	case hook == bpf.HookXDP && verdict == xdpDrop, hook != bpf.HookXDP && verdict == tcShot:
		return "dropped", ""
	case hook == bpf.HookXDP && verdict == xdpPass:
	case hook != bpf.HookXDP && verdict == tcNext: // and perhaps rewritten: the kernel takes it where it goes
	case hook == bpf.HookXDP && (verdict == xdpTX || verdict == xdpRedirect), hook != bpf.HookXDP && verdict == tcRedirect:
		switch {
		case isAnswer(in, out):
			return "answered", checkAnswer(in, out)
		case isError(in):
			return "translated", compareHeaders(in, out)
		}
		return "sent", compareSent(in, out)
	default:
		return "lost", fmt.Sprintf("verdict %d", verdict)
	}
	if bytes.Equal(in, out) {
		return "passed", ""
	}
	if hook == bpf.HookXDP {
		return "passed", "it was passed on but changed"
	}
	if isError(in) {
		return "translated", compareHeaders(in, out)
	}
	return "sent", compareSent(in, out)
}

func compareSent(in, out []byte) string {
	if problem := compareHeaders(in, out); problem != "" {
		return problem
	}
	payload := 14 + int(in[14]&15)*4 + map[uint8]int{tcp: 20, udp: 8, sctp: 12, icmp: 8}[in[23]]
	if !bytes.Equal(in[payload:], out[payload:]) {
		return "payload changed"
	}
	return ""
}

// isError tells whether a frame is an ICMP error.
func isError(frame []byte) bool {
	l4 := 14 + int(frame[14]&15)*4
	return frame[23] == icmp && slices.Contains([]byte{unreachable, timeExceeded, parameterProblem}, frame[l4])
}

// isAnswer tells whether a frame was made by the dataplane: it goes back, may not
// be fragmented and so has no identification, and is not the echo that came.
func isAnswer(in, out []byte) bool {
	return bytes.Equal(in[26:30], out[30:34]) && bytes.Equal(out[18:22], []byte{0, 0, 0x40, 0}) && out[22] == 64 &&
		(in[23] != icmp || len(in) != len(out))
}

func checkAnswer(in, out []byte) string {
	const headers = 28 // of an ICMP error
	switch {
	case !bytes.Equal(in[6:12], out[:6]) || !bytes.Equal(in[:6], out[6:12]):
		return "it does not go back to the station that sent"
	case ipLength(out) != len(out)-14:
		return "its length is not the frame's"
	case ipLength(out) > ipLength(in)+headers:
		return "it is longer than what it answers"
	case normal(onesSum(out[14:34])) != 0:
		return "its IP checksum is wrong"
	case l4Error(out, 34) != 0:
		return "its layer 4 checksum is wrong"
	case isError(in):
		return "an ICMP error was answered"
	}
	return ""
}

func compareHeaders(in, out []byte) string {
	if len(in) != len(out) {
		return fmt.Sprintf("length %d became %d", len(in), len(out))
	}
	l4 := 14 + int(in[14]&15)*4
	if a, b := normal(onesSum(in[14:l4])), normal(onesSum(out[14:l4])); a != b {
		return fmt.Sprintf("IP checksum was wrong by %#x, is by %#x", a, b)
	}
	if a, b := l4Error(in, l4), l4Error(out, l4); a != b {
		return fmt.Sprintf("layer 4 checksum was wrong by %#x, is by %#x", a, b)
	}
	return ""
}

// l4Error returns by how much a checksum is wrong: a difference in one's
// complement, bits of a CRC, or -1 for a datagram without one.
func l4Error(frame []byte, l4 int) int64 {
	segment := frame[l4 : 14+ipLength(frame)]
	pseudo := onesSum(frame[26:34]) + uint32(frame[23])
	switch frame[23] {
	case tcp:
		return int64(normal(pseudo + uint32(len(segment)) + onesSum(segment)))
	case udp:
		if segment[6] == 0 && segment[7] == 0 {
			return -1
		}
		segment = segment[:binary.BigEndian.Uint16(segment[4:])]
		return int64(normal(pseudo + uint32(len(segment)) + onesSum(segment)))
	case sctp:
		clean := slices.Clone(segment)
		copy(clean[8:], []byte{0, 0, 0, 0})
		return int64(binary.LittleEndian.Uint32(segment[8:]) ^ crc32.Checksum(clean, crc32.MakeTable(crc32.Castagnoli)))
	}
	return int64(normal(onesSum(segment)))
}

// normal folds a sum; 0 and 0xffff are the same.
func normal(sum uint32) uint16 {
	if folded := fold(sum); folded != 0xffff {
		return folded
	}
	return 0
}
