package rawsctp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/topo/probe/lab"
	"github.com/weir-lb/weir/topo/probe/packet"
	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const port = 9999

var vip = netip.AddrPortFrom(lab.VIP, 55004)

// open opens a stack that the test closes.
func open(t *testing.T, c rawsctp.Config) *rawsctp.Stack {
	t.Helper()
	s, err := rawsctp.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// echo answers each message with itself and reports how each association ended.
func echo(t *testing.T, s *rawsctp.Stack) (ends <-chan error) {
	t.Helper()
	l, err := s.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1024)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			a, err := l.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { ended <- serve(ctx, a) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	return ended
}

func serve(ctx context.Context, a *rawsctp.Association) error {
	defer a.Close()
	for {
		b, err := a.Receive(ctx)
		if err != nil {
			return err
		}
		if err := a.Send(b); err != nil {
			return err
		}
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func exchange(ctx context.Context, a *rawsctp.Association, size int) error {
	want := bytes.Repeat([]byte(a.Local().String()), size/len(a.Local().String())+1)[:size]
	if err := a.Send(want); err != nil {
		return err
	}
	got, err := a.Receive(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: %d bytes came back wrong as %d", a.Local(), size, len(got))
	}
	return nil
}

func TestAssociationThroughNAT(t *testing.T) {
	for _, mtu := range []int{1500, 1280, 9000} {
		t.Run(fmt.Sprintf("mtu %d", mtu), func(t *testing.T) {
			l := lab.New(t, mtu)
			l.DNAT(t, "sctp", vip.Port(), port)
			server := open(t, rawsctp.Config{Enter: l.Server.Do, MTU: min(mtu, rawsctp.MaxMTU)})
			ends := echo(t, server)
			client := open(t, rawsctp.Config{Enter: l.Client.Do, MTU: min(mtu, rawsctp.MaxMTU)})
			ctx := within(t, 10*time.Second)
			a, err := client.Dial(ctx, netip.AddrPort{}, vip)
			if err != nil {
				t.Fatal(err)
			}
			if a.Local().Addr() != lab.Client || a.Remote() != vip {
				t.Errorf("association %s - %s", a.Local(), a.Remote())
			}
			for _, size := range []int{1, 1452, 1453, 7001, 60000} {
				if err := exchange(ctx, a, size); err != nil {
					t.Error(err)
				}
			}
			if err := a.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if err := <-ends; !errors.Is(err, io.EOF) {
				t.Errorf("the server saw %v, want a graceful close", err)
			}
			for name, s := range map[string]rawsctp.Stats{"client": client.Stats(), "server": server.Stats()} {
				if s.BadChecksum+s.SendFailed+s.Overflow != 0 || s.Received == 0 {
					t.Errorf("%s: %+v", name, s)
				}
			}
		})
	}
}

func TestManyAssociationsAtOnce(t *testing.T) {
	l := lab.New(t, 1500)
	l.DNAT(t, "sctp", vip.Port(), port)
	ends := echo(t, open(t, rawsctp.Config{Enter: l.Server.Do}))
	client := open(t, rawsctp.Config{Enter: l.Client.Do})
	ctx := within(t, 20*time.Second)
	const n = 64
	var wg sync.WaitGroup
	failed := make(chan error, n)
	established := make(chan struct{}, n)
	release := make(chan struct{})
	for range n {
		wg.Go(func() {
			a, err := client.Dial(ctx, netip.AddrPort{}, vip)
			established <- struct{}{}
			if err != nil {
				failed <- err
				return
			}
			<-release // all of them are up at the same time
			failed <- errors.Join(exchange(ctx, a, 3000), a.Shutdown(ctx))
		})
	}
	for range n {
		<-established
	}
	close(release)
	wg.Wait()
	for range n {
		if err := <-failed; err != nil {
			t.Error(err)
		}
		if err := <-ends; !errors.Is(err, io.EOF) {
			t.Errorf("server: %v", err)
		}
	}
}

// Messages are too long to share a packet, and ordered: the second comes after the first, if that comes at all.
func TestWhatIsSentOnceIsMissingWhenItIsLost(t *testing.T) {
	const first, second = "first", "second"
	toServer, toClient := []string{"-s", lab.Client.String()}, []string{"-s", lab.Server.String()}
	one := []string{"-m", "length", "--length", "1000:", "-m", "statistic", "--mode", "nth", "--every", "1000000", "--packet", "0"}
	for name, tc := range map[string]struct {
		once  bool
		from  []string
		drops []string
		want  []string
	}{
		"a message, once":                 {true, toServer, one, []string{second}},
		"a message":                       {false, toServer, one, []string{first, second}},
		"an answer to what was sent once": {true, toClient, one, []string{second}},
		"an answer":                       {false, toClient, one, []string{first, second}},
		"acknowledgements":                {true, toClient, []string{"--chunk-types", "only", "SACK"}, []string{first, second}},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, 1500)
			echo(t, open(t, rawsctp.Config{Enter: l.Server.Do}))
			client := open(t, rawsctp.Config{Enter: l.Client.Do})
			ctx := within(t, 10*time.Second)
			a, err := client.Dial(ctx, netip.AddrPort{}, netip.AddrPortFrom(lab.Server, port))
			if err != nil {
				t.Fatal(err)
			}
			if tc.once {
				a.SendOnce()
			}
			if err := exchange(ctx, a, 10); err != nil {
				t.Fatal(err)
			}
			l.Iptables(t, slices.Concat([]string{"-A", "FORWARD", "-p", "sctp"}, tc.from, tc.drops, []string{"-j", "DROP"})...)
			for _, message := range []string{first, second} {
				if err := a.Send([]byte(message + strings.Repeat(".", 1000))); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range tc.want {
				got, err := a.Receive(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if got, _, _ := bytes.Cut(got, []byte(".")); string(got) != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
			l.Iptables(t, "-F", "FORWARD")
			if err := a.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A peer holds the SACK of one packet back for 200 ms (RFC 9260, section 6.2), and what is not acknowledged cannot be shut down.
func TestACloseWaitsForNoDelayedSACK(t *testing.T) {
	l := lab.New(t, 1500)
	echo(t, open(t, rawsctp.Config{Enter: l.Server.Do}))
	client := open(t, rawsctp.Config{Enter: l.Client.Do})
	const n, delay = 20, 200 * time.Millisecond
	ctx := within(t, n*delay/2)
	for range n {
		a, err := client.Dial(ctx, netip.AddrPort{}, netip.AddrPortFrom(lab.Server, port))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(exchange(ctx, a, 10), a.Shutdown(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSourcePortIsTheClients(t *testing.T) {
	l := lab.New(t, 1500)
	echo(t, open(t, rawsctp.Config{Enter: l.Server.Do}))
	client := open(t, rawsctp.Config{Enter: l.Client.Do})
	ctx := within(t, 10*time.Second)
	local, remote := netip.AddrPortFrom(lab.Client, 40000), netip.AddrPortFrom(lab.Server, port)
	a, err := client.Dial(ctx, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	if a.Local() != local {
		t.Errorf("local %s, want %s", a.Local(), local)
	}
	if _, err := client.Dial(ctx, local, remote); !errors.Is(err, rawsctp.ErrPortTaken) {
		t.Errorf("second association of the same four-tuple: %v", err)
	}
	if err := errors.Join(exchange(ctx, a, 10), a.Shutdown(ctx)); err != nil {
		t.Fatal(err)
	}
	again, err := client.Dial(ctx, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(exchange(ctx, again, 10), again.Shutdown(ctx)); err != nil {
		t.Fatal(err)
	}
}

// A client that was cut off as it closed may choose the same port again, while its server still says SHUTDOWN ACK to nobody.
func TestAClientThatWasCutOffBeginsAnew(t *testing.T) {
	l := lab.New(t, 1500)
	echo(t, open(t, rawsctp.Config{Enter: l.Server.Do}))
	client := open(t, rawsctp.Config{Enter: l.Client.Do})
	ctx := within(t, 5*time.Second)
	local, remote := netip.AddrPortFrom(lab.Client, 40000), netip.AddrPortFrom(lab.Server, port)
	a, err := client.Dial(ctx, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	if err := exchange(ctx, a, 10); err != nil {
		t.Fatal(err)
	}
	drop := []string{"FORWARD", "-p", "sctp", "-s", lab.Server.String(), "-j", "DROP"}
	l.Iptables(t, append([]string{"-I"}, drop...)...)
	if err := a.Shutdown(within(t, 200*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("nobody answered, and the close says %v", err)
	}
	l.Iptables(t, append([]string{"-D"}, drop...)...)
	again, err := client.Dial(ctx, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(exchange(ctx, again, 10), again.Shutdown(ctx)); err != nil {
		t.Fatal(err)
	}
}

func TestAbortReachesThePeer(t *testing.T) {
	l := lab.New(t, 1500)
	ends := echo(t, open(t, rawsctp.Config{Enter: l.Server.Do}))
	client := open(t, rawsctp.Config{Enter: l.Client.Do})
	ctx := within(t, 10*time.Second)
	a, err := client.Dial(ctx, netip.AddrPort{}, netip.AddrPortFrom(lab.Server, port))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(exchange(ctx, a, 10), a.Abort("enough")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ends:
		if !errors.Is(err, rawsctp.ErrAborted) {
			t.Errorf("the server saw %v", err)
		}
	case <-ctx.Done():
		t.Error("the server did not see the abort")
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	l := lab.New(t, 1500)
	client := open(t, rawsctp.Config{Enter: l.Client.Do})
	ctx := within(t, 200*time.Millisecond)
	if _, err := client.Dial(ctx, netip.AddrPort{}, netip.AddrPortFrom(lab.Server, port)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a dial that nobody answers: %v", err)
	}
}

// A wrong CRC32c is dropped and counted; the packet with the right one goes through.
func TestBadChecksumIsDroppedAndCounted(t *testing.T) {
	l := lab.New(t, 1500)
	server := open(t, rawsctp.Config{Enter: l.Server.Do})
	echo(t, server)
	src, dst := netip.AddrPortFrom(lab.Client, 41000), netip.AddrPortFrom(lab.Server, port)
	good, err := packet.SCTPFrame(packet.Header{Src: src, Dst: dst}, 0, packet.Init(packet.Handshake{Tag: 5, TSN: 1}))
	if err != nil {
		t.Fatal(err)
	}
	bad, err := packet.Corrupt(good, packet.L4Checksum)
	if err != nil {
		t.Fatal(err)
	}
	var raw net.PacketConn
	if err := l.Client.Do(func() (err error) { raw, err = net.ListenPacket("ip4:132", lab.Client.String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, frame := range [][]byte{bad, good} {
		if _, err := raw.WriteTo(frame[34:], &net.IPAddr{IP: lab.Server.AsSlice()}); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 2000)
	if err := raw.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := raw.ReadFrom(buf) // net strips the IPv4 header here
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := packet.FirstChunk(buf[:n]); first != packet.ChunkInitAck {
		t.Errorf("answer to the good INIT: %s", first)
	}
	if s := server.Stats(); s.BadChecksum != 1 || s.Received != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOpenRefusesAnMTUThatPionCannotRead(t *testing.T) {
	if s, err := rawsctp.Open(rawsctp.Config{MTU: rawsctp.MaxMTU + 1}); err == nil {
		t.Error("accepted")
		_ = s.Close()
	}
}

func TestListenRefusesTakenAndPortlessAddresses(t *testing.T) {
	l := lab.New(t, 1500)
	s := open(t, rawsctp.Config{Enter: l.Server.Do})
	at := netip.AddrPortFrom(lab.Server, port)
	first, err := s.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(at); !errors.Is(err, rawsctp.ErrPortTaken) {
		t.Errorf("taken port: %v", err)
	}
	if _, err := s.Listen(netip.AddrPortFrom(lab.Server, 0)); err == nil {
		t.Error("port 0 was accepted")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(at); err != nil {
		t.Errorf("port after Close: %v", err)
	}
}
