// Package programs holds the benchmarks' own BPF programs: the floors to compare
// with, the wrappers and the generator that send streams, and the sink where the
// chain ends. The object is committed, as those of package bpf are.
package programs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -target bpfel -type tally programs programs.bpf.c

// MaxStream is how many packets a stream may have.
const MaxStream = 65536

// headers is how many bytes of a frame are written anew for each packet: the
// headers, and the first bytes of a datagram's payload.
const headers = 56

// Mark is what the payload of a datagram of the chain begins with.
const Mark = "weir"

// Programs are one instance in the kernel, with maps and variables of its own.
// It is not safe for concurrent use.
type Programs struct {
	programsObjects
}

// Load loads an instance. The caller closes it. Requires Linux 5.18 (frags) and,
// to send live frames, the same.
func Load() (*Programs, error) {
	p := &Programs{}
	if err := loadProgramsObjects(&p.programsObjects, nil); err != nil {
		return nil, fmt.Errorf("load the benchmarks' programs: %w; run as root", err)
	}
	return p, nil
}

// Order is the order in which a stream's packets are sent.
type Order uint32

// The orders. Random is what a hash table likes least.
const (
	Random Order = iota
	InTurn
)

// SetStream makes the headers of these frames what is sent from now on, beginning
// with the first.
func (p *Programs) SetStream(frames [][]byte, order Order) error {
	if len(frames) == 0 || len(frames) > MaxStream {
		return fmt.Errorf("set stream of %d packets: 1 to %d are possible", len(frames), MaxStream)
	}
	keys, values := make([]uint32, len(frames)), make([]programsHeaders, len(frames))
	for i, f := range frames {
		keys[i] = uint32(i)
		values[i] = headersOf(f)
	}
	if _, err := p.Stream.BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("set stream: %w", err)
	}
	return errors.Join(p.Packets.Set(uint32(len(frames))), p.SetOrder(order))
}

// SetOrder begins the stream anew in that order.
func (p *Programs) SetOrder(order Order) error {
	return errors.Join(p.programsVariables.InTurn.Set(uint32(order)), p.Position.Set(uint32(0)))
}

// SetOut names the device that generator and redirecting floors send to, and the
// MAC addresses that the floors write.
func (p *Programs) SetOut(ifindex int, dst, src net.HardwareAddr) error {
	return errors.Join(p.OutIfindex.Set(uint32(ifindex)), p.OutDmac.Set([]byte(dst)), p.OutSmac.Set([]byte(src)))
}

// SetNetworks says what sink and home know datagrams by: the VIP, the /24 of the
// backends and the /15 of the clients.
func (p *Programs) SetNetworks(vip netip.Addr, backends, clients netip.Prefix) error {
	return errors.Join(p.Service.Set(vip.AsSlice()), p.Backends.Set(backends.Addr().AsSlice()),
		p.Strangers.Set(clients.Addr().AsSlice()))
}

// Remember puts the flows of these frames into the table that LookupXdp asks.
func (p *Programs) Remember(frames [][]byte) error {
	keys, values := make([]programsTableKey, len(frames)), make([]programsTableValue, len(frames))
	for i, f := range frames {
		if len(f) < 38 {
			return fmt.Errorf("remember flow of a frame of %d bytes: too short", len(f))
		}
		keys[i] = programsTableKey{
			Saddr: binary.NativeEndian.Uint32(f[26:]), Daddr: binary.NativeEndian.Uint32(f[30:]),
			Ports: binary.NativeEndian.Uint32(f[34:]), Protocol: uint32(f[23]),
		}
	}
	if _, err := p.Table.BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("remember flows: %w", err)
	}
	return nil
}

// SetBounce makes the sink send each datagram back, which makes its flow one that
// both ends have spoken in.
func (p *Programs) SetBounce(on bool) error {
	var value uint32
	if on {
		value = 1
	}
	return p.Bounce.Set(value)
}

// Aim sets what the wrappers call.
func (p *Programs) Aim(wrapper, target *ebpf.Program) error {
	targets := p.TcTarget
	if wrapper == p.WrapXdp {
		targets = p.XdpTarget
	}
	if err := targets.Put(uint32(0), target); err != nil {
		return fmt.Errorf("aim wrapper: %w", err)
	}
	return nil
}

// Tallies count datagrams since Load.
type Tallies struct {
	// Sent by the generator.
	Sent uint64
	// Translated and Untranslated came to the sink: to a backend and not from the
	// client any more, or as they were sent.
	Translated, Untranslated uint64
	// Returned came back to the client from the VIP.
	Returned uint64
	// Strange came to sink or client and are none of those.
	Strange uint64
}

// Minus is what came since earlier.
func (t Tallies) Minus(earlier Tallies) Tallies {
	return Tallies{
		Sent: t.Sent - earlier.Sent, Translated: t.Translated - earlier.Translated,
		Untranslated: t.Untranslated - earlier.Untranslated, Returned: t.Returned - earlier.Returned,
		Strange: t.Strange - earlier.Strange,
	}
}

// Count reads the tallies.
func (p *Programs) Count() (Tallies, error) {
	var t Tallies
	for tally, into := range map[programsTally]*uint64{
		programsTallyTALLY_SENT: &t.Sent, programsTallyTALLY_TRANSLATED: &t.Translated,
		programsTallyTALLY_UNTRANSLATED: &t.Untranslated, programsTallyTALLY_RETURNED: &t.Returned,
		programsTallyTALLY_STRANGE: &t.Strange,
	} {
		var each []uint64
		if err := p.programsMaps.Tallies.Lookup(uint32(tally), &each); err != nil {
			return Tallies{}, fmt.Errorf("read tallies: %w", err)
		}
		for _, n := range each {
			*into += n
		}
	}
	return t, nil
}

// SampleLength is the length of the frames that Sample knows, in bytes.
const SampleLength = 60

// Sample returns the last frame that the sink sent back, as it had come.
func (p *Programs) Sample() ([]byte, error) {
	var s programsSample
	if err := p.Samples.Lookup(uint32(0), &s); err != nil {
		return nil, fmt.Errorf("read sample: %w", err)
	}
	return s.Frame[:SampleLength], nil
}

func headersOf(frame []byte) programsHeaders {
	var b [headers + 8]byte
	copy(b[:headers], frame)
	var h programsHeaders
	for i := range h.Words {
		h.Words[i] = nativeWord(b[i*8:])
	}
	return h
}
