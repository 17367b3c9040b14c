package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/lab"
	"github.com/weir-lb/weir/topo/probe/packet"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var vip = netip.AddrPortFrom(lab.VIP, 55002)

func open(t *testing.T, ns *netns.NetNS, o capture.Options) *capture.Capture {
	t.Helper()
	o.Enter = ns.Do
	c, err := capture.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

func inject(t *testing.T, ns *netns.NetNS, frames ...[]byte) {
	t.Helper()
	i, err := capture.OpenInjector(ns.Do, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	for _, f := range frames {
		if err := i.Send(f); err != nil {
			t.Fatal(err)
		}
	}
}

// serve runs a TCP and SCTP server behind the VIP until the test ends.
func serve(t *testing.T, l *lab.Lab) {
	t.Helper()
	s, err := probe.Listen(probe.ServerOptions{
		Name: "pod", Addresses: map[probe.Protocol]string{probe.TCP: ":7000", probe.SCTP: ":7000"}, Enter: l.Server.Do,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	l.DNAT(t, "tcp", vip.Port(), 7000)
	l.DNAT(t, "sctp", vip.Port(), 7000)
}

func request(t *testing.T, l *lab.Lab, p probe.Protocol, source uint16) {
	t.Helper()
	c := &probe.Client{Enter: l.Client.Do}
	defer c.Close()
	if _, err := c.Do(t.Context(), probe.Request{
		Protocol: p, Target: vip, Source: netip.AddrPortFrom(lab.Client, source), Size: 400,
	}); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestPartialChecksumIsKnownFromACompleteOne(t *testing.T) {
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("tx offload %t", offload), func(t *testing.T) {
			l := lab.New(t, 1500)
			if err := link.SetOffload(l.Client, "eth0", "tx", offload); err != nil {
				t.Fatal(err)
			}
			serve(t, l)
			c := open(t, l.Client, capture.Options{Interface: "eth0"})
			request(t, l, probe.TCP, 40000)
			data, err := c.Wait(within(t, 5*time.Second), func(f capture.Frame) bool {
				p, err := f.Packet()
				return err == nil && f.Outgoing && p.Protocol == packet.TCP && p.Payload > 0
			})
			if err != nil {
				t.Fatal(err)
			}
			if data.Partial != offload {
				t.Errorf("partial checksum: %t", data.Partial)
			}
			if err := data.Verify(); err != nil {
				t.Error(err)
			}
			if err := packet.Verify(data.Data); (err != nil) != offload {
				t.Errorf("as a complete checksum: %v", err)
			}
		})
	}
}

func TestHopsFollowAPacketThroughNAT(t *testing.T) {
	l := lab.New(t, 1500)
	serve(t, l)
	captures := []*capture.Capture{
		open(t, l.Client, capture.Options{Node: "client", Interface: "eth0"}),
		open(t, l.Router, capture.Options{Node: "router", Interface: "eth0"}),
		open(t, l.Router, capture.Options{Node: "router", Interface: "eth1"}),
		open(t, l.Server, capture.Options{Node: "server", Interface: "eth0"}),
	}
	for p, first := range map[probe.Protocol]string{probe.TCP: "tcp SYN", probe.SCTP: "sctp INIT"} {
		request(t, l, p, 40000)
		opening, err := captures[0].Wait(within(t, 5*time.Second), capture.Where(func(p packet.Packet) bool {
			return p.Dst == vip && first == p.Protocol.String()+" "+p.Flags
		}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := captures[3].Wait(within(t, 5*time.Second), capture.Where(func(p packet.Packet) bool {
			return first == p.Protocol.String()+" "+p.Flags
		})); err != nil {
			t.Fatal(err)
		}
		path, err := capture.Hops(opening, captures...)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(strings.TrimSpace(`
client eth0 > 10.1.0.1:40000 -> 123.123.123.1:55002 OPENING ttl 64
router eth0 < 10.1.0.1:40000 -> 123.123.123.1:55002 OPENING ttl 64
router eth1 > 10.2.0.254:40000 -> 10.2.0.1:7000 OPENING ttl 63
server eth0 < 10.2.0.254:40000 -> 10.2.0.1:7000 OPENING ttl 63`), "OPENING", first)
		if path.String() != want {
			t.Errorf("got\n%s\nwant\n%s", path, want)
		}
		// What the router sent must be what a NAT should have made of what it got.
		expected, err := packet.Translate(path[1].Frame.Data, packet.Translation{
			Src: path[2].Packet.Src, Dst: path[2].Packet.Dst, TTLDown: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := path[2].Frame; !got.Partial {
			if diff := packet.DiffIP(expected, got.Data); diff != "" {
				t.Error(diff)
			}
		}
		for _, h := range path {
			if err := h.Frame.Verify(); err != nil {
				t.Errorf("%s: %v", h, err)
			}
		}
	}
}

func header(id uint16) packet.Header {
	return packet.Header{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		Src: netip.MustParseAddrPort("10.1.0.1:4000"), Dst: netip.MustParseAddrPort("10.1.0.254:5000"), ID: id,
	}
}

func frame(t *testing.T, id uint16, size int) []byte {
	t.Helper()
	f, err := packet.UDPFrame(header(id), make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestInjectedBytesArriveUnchanged(t *testing.T) {
	l := lab.New(t, 9000)
	c := open(t, l.Router, capture.Options{Interface: "eth0"})
	good, err := packet.SCTPFrame(header(1), 7, packet.Data(1, 0, 0, bytes.Repeat([]byte("x"), 8900)))
	if err != nil {
		t.Fatal(err)
	}
	bad, err := packet.Corrupt(good, packet.L4Checksum)
	if err != nil {
		t.Fatal(err)
	}
	inject(t, l.Client, good, bad)
	for _, want := range []struct {
		frame []byte
		err   error
	}{{good, nil}, {bad, packet.ErrSCTPChecksum}} {
		got, err := c.Wait(within(t, 5*time.Second), func(f capture.Frame) bool { return bytes.Equal(f.Data, want.frame) })
		if err != nil {
			t.Fatal(err)
		}
		if got.Outgoing || got.Partial || got.Length != len(want.frame) || !errors.Is(got.Verify(), want.err) {
			t.Errorf("outgoing %t, partial %t, %d bytes: %v", got.Outgoing, got.Partial, got.Length, got.Verify())
		}
	}
}

func TestStopDrainsAndPcapHasEveryFrame(t *testing.T) {
	l := lab.New(t, 1500)
	var file bytes.Buffer
	c := open(t, l.Router, capture.Options{
		Interface: "eth0", Node: "router", Pcap: &file, Filter: capture.Where(func(p packet.Packet) bool { return p.ID%2 == 0 }),
	})
	var frames [][]byte
	for i := range 500 {
		frames = append(frames, frame(t, uint16(i), 100))
	}
	inject(t, l.Client, frames...)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	udp := 0
	for _, f := range c.Frames() {
		if p, _ := f.Packet(); p.Protocol == packet.UDP {
			udp++
		}
	}
	if s := c.Stats(); udp != 250 || s.Seen < 500 || s.Dropped != 0 {
		t.Errorf("%d frames in memory, %+v", udp, s)
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var written uint64
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || info.Length != len(data) || info.Timestamp.IsZero() {
			t.Fatalf("packet %d: %+v, %v", written, info, err)
		}
		written++
	}
	if written != c.Stats().Seen {
		t.Errorf("%d packets written of %d seen", written, c.Stats().Seen)
	}
	if iface, err := r.Interface(0); err != nil || iface.Name != "eth0" {
		t.Errorf("%+v, %v", iface, err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := lab.New(t, 1500)
	c := open(t, l.Router, capture.Options{
		Interface: "eth0", Limit: 10_000, Snaplen: 600, Filter: capture.Where(func(p packet.Packet) bool { return p.Protocol == packet.UDP }),
	})
	for i := range 100 {
		inject(t, l.Client, frame(t, uint16(i), 400))
	}
	last, err := c.Wait(within(t, 5*time.Second), capture.Where(func(p packet.Packet) bool { return p.ID == 99 }))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	if held := s.Kept * uint64(len(last.Data)); held > 10_000 || s.Kept == 0 || s.Kept+s.Evicted != 100 {
		t.Errorf("%d bytes held, %+v", held, s)
	}
}

func TestSnaplenCutsAndVerifySaysSo(t *testing.T) {
	l := lab.New(t, 1500)
	c := open(t, l.Router, capture.Options{Interface: "eth0", Snaplen: 60})
	inject(t, l.Client, frame(t, 1, 1000))
	f, err := c.Wait(within(t, 5*time.Second), func(f capture.Frame) bool { return f.Length == 1042 })
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Data) != 60 || !errors.Is(f.Verify(), packet.ErrTruncated) {
		t.Errorf("%d bytes, %v", len(f.Data), f.Verify())
	}
}

func TestWaitEnds(t *testing.T) {
	l := lab.New(t, 1500)
	c := open(t, l.Router, capture.Options{Interface: "eth0"})
	never := func(capture.Frame) bool { return false }
	if _, err := c.Wait(within(t, 50*time.Millisecond), never); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Wait(context.Background(), never)
		ended <- err
	}()
	if err := errors.Join(c.Stop(), c.Stop()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, capture.ErrEnded) {
		t.Errorf("%v", err)
	}
}

func TestOpenNamesAMissingInterface(t *testing.T) {
	if _, err := capture.Open(capture.Options{Interface: "nosuch0"}); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("%v", err)
	}
	if _, err := capture.OpenInjector(nil, "nosuch0"); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("%v", err)
	}
}
