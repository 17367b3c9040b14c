package loader

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func mustLoad(t *testing.T, o Options) *Loaded {
	t.Helper()
	l, err := Load(o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func mapIDs(t *testing.T, p *ebpf.Program) map[ebpf.MapID]bool {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	ids, ok := info.MapIDs()
	if !ok {
		t.Fatal("the kernel does not tell the maps of a program")
	}
	set := map[ebpf.MapID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// A packet that XDP passes meets the same flows in TC.
func TestHooksShareTheirMaps(t *testing.T) {
	l := mustLoad(t, Options{WithEgress: true})
	tc, xdp, egress := mapIDs(t, l.TC), mapIDs(t, l.XDP), mapIDs(t, l.Egress)
	for _, name := range bpf.MapNames() {
		info, err := l.Maps[name].Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		// At egress nothing goes by copies of flows, of which the epoch is a part.
		if xdp[id] != tc[id] || egress[id] != (tc[id] && name != bpf.MapEpoch) {
			t.Errorf("map %s: used by TC %t, by XDP %t, at egress %t", name, tc[id], xdp[id], egress[id])
		}
	}
	if len(tc) == 0 {
		t.Error("TC uses no map")
	}
}

func TestMaxFlowsResizesBothTables(t *testing.T) {
	l := mustLoad(t, Options{MaxFlows: 8192, WithoutXDP: true})
	if got := l.Maps[bpf.MapFlows].MaxEntries(); got != 8192 {
		t.Errorf("flows has %d entries", got)
	}
	if got := l.Maps[bpf.MapFlowsNew].MaxEntries(); got != 2048 {
		t.Errorf("flows_new has %d entries", got)
	}
	if l.XDP != nil || l.Egress != nil {
		t.Error("the XDP or egress program is loaded although it was left out")
	}
}

func TestMaxFlowsIsBounded(t *testing.T) {
	for _, n := range []uint32{1, minFlows - 1, MaxFlows + 1} {
		l, err := Load(Options{MaxFlows: n})
		if err == nil {
			l.Close()
			t.Errorf("%d entries are accepted", n)
			continue
		}
		if !strings.Contains(err.Error(), "4096 to 16777216") {
			t.Errorf("%d entries: %q does not name the bounds", n, err)
		}
	}
}

func TestWantOfMemorySaysWhatToDo(t *testing.T) {
	short := fmt.Errorf("map flows: %w", unix.ENOMEM)
	if got := withAdvice(short); !errors.Is(got, unix.ENOMEM) || !strings.HasSuffix(got.Error(), "; give a smaller --max-flows, or weir more memory") {
		t.Errorf("got %v", got)
	}
	if other := fmt.Errorf("map flows: %w", unix.EPERM); withAdvice(other).Error() != other.Error() {
		t.Errorf("got %v", withAdvice(other))
	}
}
