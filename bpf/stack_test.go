package bpf

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The verifier adds up the stacks of a chain of calls, each rounded up to whole
// steps, and newer kernels take smaller ones: what loads here may be refused by
// the oldest kernel that weir promises (check_max_stack_depth in
// kernel/bpf/verifier.c of Linux 6.1).
const (
	stackLimit = 512
	stackStep  = 32
)

func TestStackFitsOlderKernels(t *testing.T) {
	for object, load := range map[string]func() (*ebpf.CollectionSpec, error){"xdp": LoadXDP, "tc": LoadTC, "egress": LoadEgress} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for name, program := range spec.Programs {
			depth, chain := framesOf(program.Instructions).deepest(program.Instructions[0].Symbol())
			t.Logf("%s: %d of %d bytes of stack: %s", object, depth, stackLimit, chain)
			if depth > stackLimit {
				t.Errorf("%s needs %d bytes of stack, the limit is %d: %s", object, depth, stackLimit, chain)
			}
			if name != ProgramClock && depth <= stackStep {
				t.Errorf("%s needs %d bytes of stack: no call was understood", object, depth)
			}
		}
	}
}

// frame is one BPF function: the stack of its own, in bytes, and whom it calls.
type frame struct {
	size  int
	calls []string
}

// framesOf reads compiled code, where every address on the stack is the frame
// pointer with a constant offset.
func framesOf(code asm.Instructions) frames {
	all := frames{code[0].Symbol(): {}}
	for _, ins := range code {
		if ins.IsFunctionCall() {
			all[ins.Reference()] = &frame{}
		}
	}
	var f *frame
	for i, ins := range code {
		if begun := all[ins.Symbol()]; begun != nil {
			f = begun
		}
		class, op := ins.OpCode.Class(), ins.OpCode.ALUOp()
		switch {
		case ins.IsFunctionCall():
			f.calls = append(f.calls, ins.Reference())
		case class.IsLoad() && ins.Src == asm.RFP, class.IsStore() && ins.Dst == asm.RFP:
			f.size = max(f.size, -int(ins.Offset))
		case class == asm.ALU64Class && op == asm.Mov && ins.OpCode.Source() == asm.RegSource && ins.Src == asm.RFP:
			f.size = max(f.size, -int(code[i+1].Constant)) // the addition that follows
		}
	}
	return all
}

type frames map[string]*frame

// deepest returns the chain of calls from a function on that needs most stack.
func (all frames) deepest(function string) (depth int, chain string) {
	f := all[function]
	for _, called := range f.calls {
		if d, c := all.deepest(called); d > depth {
			depth, chain = d, " > "+c
		}
	}
	own := (max(f.size, 1) + stackStep - 1) / stackStep * stackStep
	return depth + own, fmt.Sprintf("%s (%d)%s", function, f.size, chain)
}
