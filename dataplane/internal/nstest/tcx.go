package nstest

import (
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// HasTCX tells whether the kernel can attach TC programs by links, as Linux does
// since 6.6. Where it cannot, weir uses clsact filters.
func HasTCX() bool { return hasTCX() }

// hasTCX attaches to an interface that nobody has: a kernel with TCX says that
// there is none such.
var hasTCX = sync.OnceValue(func() bool {
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		return false
	}
	defer pass.Close()
	_, err = link.AttachTCX(link.TCXOptions{Interface: math.MaxInt32, Program: pass, Attach: ebpf.AttachTCXIngress})
	return !errors.Is(err, link.ErrNotSupported)
})

// TCXPrograms are the ids of the programs that are attached by TCX links at a
// place of an interface, first one first. None where the kernel has no TCX.
func TCXPrograms(t *testing.T, index int, at ebpf.AttachType) []ebpf.ProgramID {
	t.Helper()
	if !HasTCX() {
		return nil
	}
	result, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at})
	if err != nil {
		t.Fatalf("query programs of interface %d: %v", index, err)
	}
	ids := make([]ebpf.ProgramID, len(result.Programs))
	for i, p := range result.Programs {
		ids[i] = p.ID
	}
	return ids
}
