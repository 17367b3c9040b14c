package packettest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/weir-lb/weir/bpf"
)

// Verdicts as the kernel numbers them.
const (
	xdpDrop, xdpPass, xdpTX, xdpRedirect = 1, 2, 3, 4
	tcNext, tcShot, tcRedirect           = 0xffffffff, 2, 7 // TC_ACT_UNSPEC: the next program decides
)

// row is one line of a table. Exactly one of out, deliver, drop and pass says
// what becomes of the packet.
type row struct {
	name   string       // a sentence
	change func(*state) // of the state that all rows start from
	given  []string     // flow entries, see pair
	from   string       // device, "" is client0
	in     pkt
	gso    uint32 // TC alone: the packet is a GSO packet of segments of this size

	out     *pkt        // sent like this
	deliver *pkt        // handed to the kernel like this; XDP passes it on, untouched
	tcOnly  bool        // XDP passes it on, untouched
	kicks   bool        // XDP sends it by redirect though it leaves where it came from
	drop    bpf.Counter // dropped for this reason
	answer  answer      // and answered so
	pass    bool        // passed on, untouched
	only    string      // "xdp" or "tc": the row makes no sense for the other hook
	entries []string    // after it, nil: as given
	started []string    // entries added to those given
}

func sent(p pkt) *pkt { return &p }

// both is two pairs of entries, or more.
func both(pairs ...[]string) []string { return slices.Concat(pairs...) }

// frame returns the row's packet as it arrives: from the client's neighbour, or
// the row's MACs.
func (r *row) frame() []byte { return r.arrives().bytes() }

func (r *row) device() *nic {
	if r.from == "" {
		return nicByName("client0")
	}
	return nicByName(r.from)
}

func (r *row) arrives() pkt {
	p := r.in
	if p.dmac == nil {
		p.dmac = r.device().mac()
	}
	if p.smac == nil {
		p.smac = macOf(p.src.Addr().String())
	}
	return p
}

func runTable(t *testing.T, rows []row) {
	t.Helper()
	w := newWorld(t)
	w.runRows(t, rows, bpf.HookXDP, bpf.HookTC)
}

func (w *world) runRows(t *testing.T, rows []row, hooks ...bpf.Hook) {
	t.Helper()
	for i := range rows {
		r := &rows[i]
		rowsRun++
		for _, hook := range hooks {
			if r.only != "" && r.only != hook.String() {
				continue
			}
			t.Run(r.name+"/"+hook.String(), func(t *testing.T) { w.check(t, r, hook) })
		}
	}
}

func (w *world) check(t *testing.T, r *row, hook bpf.Hook) {
	t.Helper()
	s := newState()
	if r.change != nil {
		r.change(s)
	}
	if err := w.program(s, r.given); err != nil {
		t.Fatal(err)
	}
	frame := r.frame()
	verdict, got, err := w.runRow(r, hook, frame)
	if err != nil {
		t.Fatalf("run program: %v", err)
	}
	want := r.expect(hook)
	if want.bytes == nil {
		want.bytes = frame
	}
	counters, err := w.counters(hook)
	if err != nil {
		t.Fatal(err)
	}
	if verdict != want.verdict {
		t.Errorf("verdict %d, want %d; counters %v", verdict, want.verdict, counters)
	}
	// Nobody sees what is in a packet that is dropped.
	if (!want.counter.IsDrop() || want.answered == 1) && !bytes.Equal(got, want.bytes) {
		t.Errorf("packet differs:\n%s", describe(frame, want.bytes, got))
	}
	if counters[want.counter] != 1 {
		t.Errorf("counters %v, want 1 %s", counters, want.counter)
	}
	if counters[bpf.CounterAnswered] != want.answered {
		t.Errorf("counters %v, want %d answered", counters, want.answered)
	}
	w.audit(t, hook, 1)
	w.checkEntries(t, r, want.counter == bpf.CounterForwarded, frame)
}

func (w *world) runRow(r *row, hook bpf.Hook, frame []byte) (verdict uint32, out []byte, err error) {
	if hook == bpf.HookTC && len(frame) > maxLinear && r.out != nil {
		return w.runOnWire(r.device(), nicWithMAC(r.out.smac), frame)
	}
	return w.run(hook, r.device(), frame, r.gso)
}

type expectation struct {
	verdict  uint32
	counter  bpf.Counter
	bytes    []byte // nil: untouched
	answered uint64
}

func (r *row) expect(hook bpf.Hook) expectation {
	xdp := hook == bpf.HookXDP
	choose := func(ifXDP, ifTC uint32) uint32 {
		if xdp {
			return ifXDP
		}
		return ifTC
	}
	switch {
	case r.pass, (r.tcOnly || r.deliver != nil) && xdp:
		return expectation{choose(xdpPass, tcNext), bpf.CounterPassed, nil, 0}
	case r.deliver != nil:
		return expectation{tcNext, bpf.CounterForwarded, r.deliver.bytes(), 0}
	case r.answer != nil:
		e := expectation{choose(xdpTX, tcRedirect), r.drop, r.answer(r), 1}
		if xdp && r.kicks {
			e.verdict = xdpRedirect
		}
		return e
	case r.out == nil:
		return expectation{choose(xdpDrop, tcShot), r.drop, nil, 0}
	}
	e := expectation{choose(xdpRedirect, tcRedirect), bpf.CounterForwarded, r.out.bytes(), 0}
	if xdp && !r.kicks && bytes.Equal(r.out.smac, r.device().mac()) {
		e.verdict = xdpTX
	}
	if hook == bpf.HookEgress && bytes.Equal(r.out.smac, r.device().mac()) && !bytes.Equal(r.out.smac, r.out.dmac) {
		e.verdict = tcNext // it leaves by the device it is at
	}
	return e
}

// audit checks in = forwarded + passed + dropped, and that the other hooks have
// counted nothing.
func (w *world) audit(t *testing.T, hook bpf.Hook, packets uint64) {
	t.Helper()
	counters, err := w.counters(hook)
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for c, n := range counters {
		if c != bpf.CounterIn && c != bpf.CounterAnswered {
			sum += n
		}
	}
	if counters[bpf.CounterIn] != packets || sum != packets {
		t.Errorf("%s: %d packets in, %d accounted for, want %d each: %v", hook, counters[bpf.CounterIn], sum, packets, counters)
	}
	for _, other := range bpf.Hooks() {
		if other == hook {
			continue
		}
		counters, err := w.counters(other)
		if err != nil {
			t.Fatal(err)
		}
		if len(counters) != 0 {
			t.Errorf("%s has run, but %s counted %v", hook, other, counters)
		}
	}
}

// checkEntries compares the flow tables, and that exactly one entry accounts for
// a packet that was forwarded.
func (w *world) checkEntries(t *testing.T, r *row, forwarded bool, frame []byte) {
	t.Helper()
	lines, packets, byteCount, err := w.entries()
	if err != nil {
		t.Fatal(err)
	}
	want := r.entries
	if want == nil {
		want = both(r.given, r.started)
	}
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(lines, want) {
		t.Errorf("flow entries:\n    %s\nwant:\n    %s", strings.Join(lines, "\n    "), strings.Join(want, "\n    "))
	}
	wantPackets, wantBytes := uint64(0), uint64(0)
	if forwarded && r.in.proto != icmp {
		wantPackets, wantBytes = 1, uint64(14+ipLength(frame))
	}
	if packets != wantPackets || byteCount != wantBytes {
		t.Errorf("entries account for %d packets of %d bytes, want %d of %d", packets, byteCount, wantPackets, wantBytes)
	}
}

func ipLength(frame []byte) int { return int(frame[16])<<8 | int(frame[17]) }
