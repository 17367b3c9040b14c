package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

// The kernel's verifier takes all objects; what it had to look at is logged, so
// that growth is seen.
func TestVerifierAcceptsAllObjects(t *testing.T) {
	for name, load := range map[string]func() (*ebpf.CollectionSpec, error){"tc": LoadTC, "xdp": LoadXDP, "egress": LoadEgress} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range spec.Maps {
			m.MaxEntries = min(m.MaxEntries, 4096)
		}
		collection, err := ebpf.NewCollection(spec)
		var verifier *ebpf.VerifierError
		if errors.As(err, &verifier) {
			t.Fatalf("load %s: %+v", name, verifier)
		}
		if err != nil {
			t.Fatalf("load %s: %v", name, err)
		}
		for program, p := range collection.Programs {
			info, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			verified, _ := info.VerifiedInstructions()
			jited, _ := info.JitedSize()
			instructions, _ := info.Instructions()
			t.Logf("%s: %d instructions verified, %d long, %d bytes of machine code",
				program, verified, len(instructions), jited)
		}
		collection.Close()
	}
}
