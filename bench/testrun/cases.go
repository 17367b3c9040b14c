package testrun

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/programs"
	"github.com/weir-lb/weir/bench/result"
	"github.com/weir-lb/weir/bench/rounds"
	"github.com/weir-lb/weir/bpf"
)

// Section is the table's name.
const Section = "testrun"

// newFlows is how many first packets a round measures.
const newFlows = 10_000

// frame lengths with Ethernet header, by what they are called.
var lengths = map[int]int{64: 64, 1500: 1514, 9000: 9014}

// Cases lists what is measured, each by repeat calls a round. bench gives what they
// are measured in; it is asked only then.
func Cases(bench func() *Bench, repeat int) []rounds.Case {
	var all []rounds.Case
	b := lazy{bench, repeat}
	for _, hook := range []bpf.Hook{bpf.HookXDP, bpf.HookTC} {
		all = append(all, rounds.Case{Subject: floorOf(hook), Variant: "1", Measure: b.floor(hook)})
		for _, protocol := range []string{"tcp", "udp", "sctp"} {
			for _, length := range []int{64, 1500} {
				for _, flows := range []int{1, 10_000, maxFlows} {
					all = append(all, b.established(hook, protocol, length, flows))
				}
			}
		}
		if hook == bpf.HookXDP {
			all = append(all, b.established(hook, "udp", 9000, 1), b.established(hook, "sctp", 9000, 1))
		}
		all = append(all,
			b.established(hook, "sctp-same", 64, 1),
			b.established(hook, "sctp-same", 1500, 1),
			rounds.Case{Subject: hook.String() + " no-vip 64", Variant: "1", Baseline: floorOf(hook), Measure: b.stranger(hook)},
			rounds.Case{Subject: hook.String() + " new-flow 64", Variant: strconv.Itoa(newFlows), Baseline: floorOf(hook), Measure: b.firstPackets(hook)})
	}
	return all
}

func floorOf(hook bpf.Hook) string { return hook.String() + " floor" }

// lazy makes cases of a Bench that is not open yet.
type lazy struct {
	bench  func() *Bench
	repeat int
}

// floor is what swapping MACs alone costs, without wrapper.
func (l lazy) floor(hook bpf.Hook) func(context.Context) (result.Sample, error) {
	return func(context.Context) (result.Sample, error) {
		b, repeat := l.bench(), l.repeat
		frame, err := streams["tcp"].data(b.header(client(0), serviceTCP), 64)
		if err != nil {
			return result.Sample{}, err
		}
		var ns float64
		err = b.inside(func() error {
			ns, err = b.clock.Time(b.side(hook).floor, frame, b.context(hook, "eth1", len(frame)), repeat)
			return err
		})
		return result.Sample{Value: ns, Sent: uint64(repeat)}, err
	}
}

// established is packets of flows that are there, in random order.
func (l lazy) established(hook bpf.Hook, protocol string, length, flows int) rounds.Case {
	s := streams[protocol]
	return rounds.Case{
		Subject: fmt.Sprintf("%s %s %d", hook, protocol, length), Variant: strconv.Itoa(flows), Baseline: floorOf(hook),
		Measure: func(context.Context) (result.Sample, error) {
			b := l.bench()
			if err := b.establish(s, flows); err != nil {
				return result.Sample{}, err
			}
			frames, err := b.frames(s, lengths[length], flows)
			if err != nil {
				return result.Sample{}, err
			}
			return b.net(hook, frames, programs.Random, l.repeat, bpf.CounterForwarded)
		},
	}
}

// frames returns the packets of so many flows; they are made once.
func (b *Bench) frames(s stream, length, flows int) ([][]byte, error) {
	key := fmt.Sprintf("%s %d", s.name, length)
	for n := len(b.packets[key]); n < flows; n++ {
		f, err := s.data(b.header(client(n), s.service), length)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			f = f[:min(len(f), 64)] // the first is what runs, of the others the headers
		}
		b.packets[key] = append(b.packets[key], f)
	}
	return b.packets[key][:flows], nil
}

// stranger is a packet that is not for weir.
func (l lazy) stranger(hook bpf.Hook) func(context.Context) (result.Sample, error) {
	return func(context.Context) (result.Sample, error) {
		b := l.bench()
		frame, err := streams["tcp"].data(b.header(client(0), netip.AddrPortFrom(lab.Server, 80)), 64)
		if err != nil {
			return result.Sample{}, err
		}
		return b.net(hook, [][]byte{frame}, programs.Random, l.repeat, bpf.CounterPassed)
	}
}

// firstPackets makes a flow with each packet.
func (l lazy) firstPackets(hook bpf.Hook) func(context.Context) (result.Sample, error) {
	return func(context.Context) (result.Sample, error) {
		b := l.bench()
		frames := make([][]byte, 0, newFlows)
		for range newFlows {
			f, err := streams["tcp"].first(b.header(client(b.next), serviceTCP))
			if err != nil {
				return result.Sample{}, err
			}
			// As Ethernet pads it.
			frames = append(frames, append(f, make([]byte, 64-len(f))...))
			b.next++
		}
		return b.net(hook, frames, programs.InTurn, newFlows, bpf.CounterForwarded)
	}
}

// net is what the program costs beyond the wrapper and the floor in it, and holds
// it to what it was to do with each packet.
func (b *Bench) net(hook bpf.Hook, frames [][]byte, order programs.Order, repeat int, did bpf.Counter) (result.Sample, error) {
	side := b.side(hook)
	if err := b.programs.SetStream(frames, order); err != nil {
		return result.Sample{}, err
	}
	before, err := b.lab.WeirCounters(hook)
	if err != nil {
		return result.Sample{}, err
	}
	context := b.context(hook, "eth1", len(frames[0]))
	var wrapped, gross float64
	err = b.inside(func() error {
		if err := b.programs.Aim(side.wrapper, side.floor); err != nil {
			return err
		}
		if wrapped, err = b.clock.Time(side.wrapper, frames[0], context, repeat); err != nil {
			return err
		}
		if err := b.programs.SetOrder(order); err != nil {
			return err
		}
		if err := b.programs.Aim(side.wrapper, b.weir[hook]); err != nil {
			return err
		}
		gross, err = b.clock.Time(side.wrapper, frames[0], context, repeat)
		return err
	})
	if err != nil {
		return result.Sample{}, err
	}
	after, err := b.lab.WeirCounters(hook)
	if err != nil {
		return result.Sample{}, err
	}
	counted := after.Minus(before)
	// A call that a signal interrupts begins anew: more may have run than asked for.
	if counted[did] < uint64(repeat) || counted[did] != counted[bpf.CounterIn] {
		return result.Sample{}, fmt.Errorf("of %d packets weir has counted %s", repeat, counted)
	}
	return result.Sample{Value: gross - wrapped, Sent: uint64(repeat)}, nil
}
