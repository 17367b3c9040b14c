// Package testrun measures weir's programs alone: BPF_PROG_TEST_RUN calls the very
// programs that a running weir has attached, over the flows that it has. Packets
// are written anew for each call by a wrapper, whose cost, with a program that
// swaps MACs and sends, is taken off: "net".
package testrun

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/programs"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// MTU of the lab: SCTP is measured up to 9000 bytes.
const MTU = 9000

// maxFlows is the most flows of a protocol.
const maxFlows = 60_000

// Bench is a lab with weir at both hooks, and flows. It is not safe for concurrent
// use.
type Bench struct {
	lab      *lab.Lab
	clock    programs.Clock
	programs *programs.Programs
	weir     map[bpf.Hook]*ebpf.Program
	// flows is how many flows of a stream are there.
	flows map[string]int
	// packets keeps the frames of a stream by their length.
	packets map[string][][]byte
	next    int // the first client that has not opened a flow yet
}

// Open makes a lab, which has weir at native XDP and at TC, ready. The lab stays
// the caller's.
func Open(ctx context.Context, l *lab.Lab, clock programs.Clock) (*Bench, error) {
	b := &Bench{
		lab: l, clock: clock, weir: map[bpf.Hook]*ebpf.Program{},
		flows: map[string]int{}, packets: map[string][][]byte{}, next: maxFlows,
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bench) open(ctx context.Context) error {
	var err error
	if b.programs, err = programs.Load(); err != nil {
		return err
	}
	for _, hook := range []bpf.Hook{bpf.HookXDP, bpf.HookTC} {
		if b.weir[hook], err = b.lab.WeirProgram(hook); err != nil {
			return err
		}
	}
	return errors.Join(b.lab.Program(ctx, wish()), b.lab.Check())
}

// wish is the services of all protocols. Sixteen backends have source
// ports for a million flows of a protocol: most keep the client's.
func wish() []v1.Service {
	var all []v1.Service
	add := func(name string, p v1.Protocol, port, target uint16) {
		s := v1.Service{Name: "bench/" + name, Mode: v1.ModeFullNAT, Frontend: v1.Frontend{VIP: lab.VIP, Port: port, Protocol: p}}
		address := lab.Backends.Addr()
		for range 16 {
			address = address.Next()
			s.Backends = append(s.Backends, v1.Backend{Address: address, Port: target})
		}
		all = append(all, s)
	}
	add("tcp", v1.TCP, serviceTCP.Port(), 8080)
	add("udp", v1.UDP, serviceUDP.Port(), 7000)
	add("sctp", v1.SCTP, serviceSCTP.Port(), 7777)
	add("sctp-same", v1.SCTP, serviceSCTPSame.Port(), serviceSCTPSame.Port())
	return all
}

// Close lets go of the programs.
func (b *Bench) Close() error {
	var errs []error
	if b.programs != nil {
		errs = append(errs, b.programs.Close())
	}
	for _, p := range b.weir {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// establish opens flows of the stream by weir itself: a client's first packet, and
// the backend's answer to what weir made of it.
func (b *Bench) establish(s stream, flows int) error {
	if b.flows[s.name] >= flows {
		return nil
	}
	err := b.inside(func() error {
		for n := b.flows[s.name]; n < flows; n++ {
			if err := b.openFlow(s, client(n)); err != nil {
				return fmt.Errorf("open flow %d of %s: %w", n, s.name, err)
			}
		}
		return nil
	})
	b.flows[s.name] = flows
	return err
}

// openFlow lets one client open a flow.
func (b *Bench) openFlow(s stream, from netip.AddrPort) error {
	first, err := s.first(b.header(from, s.service))
	if err != nil {
		return err
	}
	out, err := b.once("eth1", first)
	if err != nil {
		return err
	}
	source, backend, err := ends(out)
	if err != nil {
		return err
	}
	answer, err := s.answer(packet.Header{
		SrcMAC: b.lab.MAC("server:eth1"), DstMAC: b.lab.MAC("lb:eth2"), Src: backend, Dst: source,
	})
	if err != nil {
		return err
	}
	out, err = b.once("eth2", answer)
	if err != nil {
		return err
	}
	if src, dst, err := ends(out); err != nil || src != s.service || dst != from {
		return fmt.Errorf("the answer left from %s to %s: %w", src, dst, err)
	}
	return nil
}

// once runs weir's XDP program over one frame that came in by an interface of the
// node lb, and returns what it sends.
func (b *Bench) once(name string, frame []byte) ([]byte, error) {
	options := &ebpf.RunOptions{
		Data: frame, DataOut: make([]byte, len(frame)+256), Context: b.context(bpf.HookXDP, name, len(frame)),
	}
	verdict, err := b.weir[bpf.HookXDP].Run(options)
	if err != nil {
		return nil, fmt.Errorf("run weir's program: %w", err)
	}
	if verdict != xdpTX && verdict != xdpRedirect {
		counters, _ := b.lab.WeirCounters(bpf.HookXDP)
		return nil, fmt.Errorf("weir did not send it (verdict %d; %s)", verdict, counters)
	}
	return options.DataOut, nil
}

// Verdicts of XDP (linux/bpf.h).
const (
	xdpTX       = 3
	xdpRedirect = 4
)

// inside runs f where weir runs: its interfaces are those of that namespace.
func (b *Bench) inside(f func() error) error { return b.lab.Node("lb").Do(f) }

// header addresses a frame of a client to weir.
func (b *Bench) header(from, to netip.AddrPort) packet.Header {
	return packet.Header{SrcMAC: b.lab.MAC("client:eth1"), DstMAC: b.lab.MAC("lb:eth1"), Src: from, Dst: to}
}

// context is a struct xdp_md, or the part of a struct __sk_buff that test_run
// accepts: the kernel refuses other fields that are not 0.
func (b *Bench) context(hook bpf.Hook, name string, length int) []byte {
	index := uint32(b.lab.Index("lb:" + name))
	if hook == bpf.HookXDP {
		md := make([]byte, 24)
		binary.NativeEndian.PutUint32(md[4:], uint32(length))
		binary.NativeEndian.PutUint32(md[12:], index)
		return md
	}
	const ingressIfindex, ifindex = 36, 40
	skb := make([]byte, 192)
	binary.NativeEndian.PutUint32(skb[ingressIfindex:], index)
	binary.NativeEndian.PutUint32(skb[ifindex:], index)
	return skb
}

// side is the benchmark's own programs for one hook.
type side struct{ floor, wrapper *ebpf.Program }

func (b *Bench) side(hook bpf.Hook) side {
	if hook == bpf.HookXDP {
		return side{b.programs.FloorXdp, b.programs.WrapXdp}
	}
	return side{b.programs.FloorTc, b.programs.WrapTc}
}
