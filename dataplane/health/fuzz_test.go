package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
)

// FuzzEcho holds that the question turned round is the answer whatever follows
// it, that no other packet is, and that a quote is ours by all of its first 8 bytes.
func FuzzEcho(f *testing.F) {
	e := newEcho()
	turnedRound := func(tail []byte) []byte {
		p := append(bytes.Clone(e.packet), tail...)
		p[0], p[2], p[3] = icmpEchoReply, 0, 0
		binary.BigEndian.PutUint16(p[2:], internetChecksum(p))
		return p
	}
	f.Add([]byte{}, uint16(0))
	f.Add(turnedRound(nil), uint16(35))
	f.Add(e.packet, uint16(64))
	f.Add([]byte{3, 1, 0xfc, 0xfe, 0, 0, 0, 0, 0x45, 0, 0, 84}, uint16(7)) // host unreachable
	f.Fuzz(func(t *testing.T, p []byte, at uint16) {
		if answered, err := e.read(withoutIP(append([]byte{0x45, 19: 0}, p...))); err != nil || answered != bytes.Equal(p, turnedRound(p[min(len(p), len(e.packet)):])) {
			t.Errorf("%x is the answer to %x: %t, %v", p, e.packet, answered, err)
		}
		right := turnedRound(p)
		if answered, _ := e.read(right); !answered {
			t.Errorf("%x is no answer to %x", right, e.packet)
		}
		flip(right, at)
		if answered, _ := e.read(right); answered {
			t.Errorf("%x, of which one bit is wrong, answers %x", right, e.packet)
		}
		quote := append(bytes.Clone(e.packet[:icmpHeader]), p...)
		if !e.quotedBy(quote) || e.quotedBy(p) != bytes.HasPrefix(p, quote[:icmpHeader]) {
			t.Errorf("%x quotes %x: %t, and with its header before it %t", p, e.packet, e.quotedBy(p), e.quotedBy(quote))
		}
		flip(quote[:icmpHeader], at)
		if e.quotedBy(quote) {
			t.Errorf("%x, of which one bit is wrong, quotes %x", quote, e.packet)
		}
	})
}

// flip changes one bit.
func flip(p []byte, at uint16) {
	bit := int(at) % (8 * len(p))
	p[bit/8] ^= 1 << (bit % 8)
}

// FuzzPage holds that whatever a server says, it is healthy only by a status
// below 400 and with the word, and that the error is one line.
func FuzzPage(f *testing.F) {
	nstest.MustUp(f, "lo")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	var says atomic.Pointer[[]byte]
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024)) // else what is left unread resets the answer
			_, _ = conn.Write(*says.Load())
			_ = conn.Close()
		}
	}()
	f.Cleanup(func() { _ = l.Close(); <-served })
	target := Target{Type: v1.ProbeHTTP, Address: netip.MustParseAddrPort(l.Addr().String()), Spec: v1.ProbeSpec{Expect: "well"}}
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n", "HTTP/1.1 503 Service Unavailable\r\n\r\nwell",
		"HTTP/1.1 302 Found\r\nLocation: /ill\r\n\r\nwell", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nwell",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nwell",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nNo colon\nbad: \x00\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\nwell", "SSH-2.0-OpenSSH_9.2\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		says.Store(&answer)
		_, err := new(Network).Probe(ctx, target)
		switch {
		case err != nil && strings.ContainsAny(err.Error(), "\r\n"):
			t.Errorf("more than a line: %q", err)
		case err != nil:
		case !bytes.HasPrefix(answer, []byte("HTTP/")):
			t.Errorf("%q is healthy, and no HTTP", answer)
		case !hasStatusBelow400(answer):
			t.Errorf("%q is healthy by no status below 400", answer)
		case !bytes.Contains(answer, []byte("well")) && !bytes.Contains(bytes.ToLower(answer), []byte("chunked")):
			t.Errorf("%q is healthy without the word", answer)
		}
	})
}

// hasStatusBelow400 tells whether one of an answer's lines is such a status; before
// the last of them come those of 1xx.
func hasStatusBelow400(answer []byte) bool {
	for line := range bytes.Lines(answer) {
		var major, minor, status int
		if n, _ := fmt.Sscanf(string(line), "HTTP/%d.%d %d", &major, &minor, &status); n == 3 && status < 400 {
			return true
		}
	}
	return false
}

// FuzzRestore holds that what a file of verdicts says is taken over as it would be
// written, or not at all and why in a line.
func FuzzRestore(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, seed := range []string{
		`{"version":1,"saved":"2026-01-02T03:04:00Z","down":[{"target":{"type":"tcp","address":"10.0.0.0:80"},"probe":{"type":"tcp","healthy":false,"error":"refused","last":"2026-01-02T03:03:59Z","since":"2026-01-02T03:00:00Z"}}]}`,
		`{"version":1,"saved":"2026-01-02T03:04:00Z","down":[{"target":{"type":"http","address":"10.0.0.1:80","spec":{"request":"/x","expect":"pong","failures":3}},"probe":{"type":"http","latency":7}}]}`,
		`{"version":1,"saved":"2026-01-02T03:04:00+23:59","down":null}`, `{"version":1,"down":[{}]}`, `{"version":2}`, `null`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := NewFile(t.TempDir())
		if err := os.WriteFile(file.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m := New(newScript(), Timing{})
		if err := file.Restore(m, now); err != nil {
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), file.path) || len(m.restored) > 0 {
				t.Fatalf("%d verdicts of a file that is refused by %q", len(m.restored), err)
			}
			return
		}
		if err := file.Save(m, now); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again := New(newScript(), Timing{})
		if err := file.Restore(again, now); err != nil || len(again.restored) != len(m.restored) {
			t.Fatalf("%d verdicts became %d, %v", len(m.restored), len(again.restored), err)
		}
		for target, was := range m.restored {
			is, ok := again.restored[target]
			if !ok || is.Healthy != was.Healthy || is.Error != was.Error || !is.Since.Equal(was.Since) || !is.Last.Equal(was.Last) {
				t.Fatalf("the verdict on %v became %+v, was %+v", target, is, was)
			}
		}
		if left, err := filepath.Glob(file.path + "*"); err != nil || len(left) != 1 {
			t.Fatalf("files %v, %v", left, err)
		}
	})
}
