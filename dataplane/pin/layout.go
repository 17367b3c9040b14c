package pin

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// compatible says why a map is not what its spec asks for, nil when it is.
func compatible(spec *ebpf.MapSpec, m *ebpf.Map) error {
	if m.MaxEntries() != spec.MaxEntries && m.Type() == spec.Type {
		return fmt.Errorf("it has room for %d entries, %d are asked for; give --max-flows as before, "+
			"or stop the version that made it with `weirctl drain` first", m.MaxEntries(), spec.MaxEntries)
	}
	then := "start the version that made it, or stop that with `weirctl drain` first"
	if err := spec.Compatible(m); err != nil {
		return fmt.Errorf("%w; %s", err, then)
	}
	handle, err := m.Handle()
	if err != nil {
		return fmt.Errorf("its layout is not known: %w; %s", err, then)
	}
	defer handle.Close()
	kernel, err := handle.Spec(nil)
	if err != nil {
		return fmt.Errorf("its layout is not known: %w; %s", err, then)
	}
	for _, want := range []btf.Type{spec.Key, spec.Value} {
		if err := sameLayout(want, kernel); err != nil {
			return fmt.Errorf("%w; %s", err, then)
		}
	}
	return nil
}

// sameLayout compares a type with the one of the same name that the map was
// made with. Integers have no members to compare: their size is the map's.
func sameLayout(want btf.Type, kernel *btf.Spec) error {
	s, ok := want.(*btf.Struct)
	if !ok {
		return nil
	}
	var have *btf.Struct
	if err := kernel.TypeByName(s.Name, &have); err != nil {
		return fmt.Errorf("it was not made of struct %s: %w", s.Name, err)
	}
	if a, b := layout(have), layout(s); a != b {
		return fmt.Errorf("struct %s was {%s}, is {%s}", s.Name, a, b)
	}
	return nil
}

// layout writes a struct down: every member with its type, bits and offset.
func layout(s *btf.Struct) string {
	var b strings.Builder
	for _, m := range s.Members {
		fmt.Fprintf(&b, "%s %s@%d ", m.Name, shape(m.Type), m.Offset)
	}
	return strings.TrimSuffix(b.String(), " ")
}

// shape writes a member's type down without the names of typedefs: __be32 and
// __u32 are one in memory.
func shape(t btf.Type) string {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return "{" + layout(t) + "}"
	case *btf.Array:
		return fmt.Sprintf("%d*%s", t.Nelems, shape(t.Type))
	default:
		size, err := btf.Sizeof(t)
		if err != nil {
			return fmt.Sprintf("%T %s", t, t.TypeName())
		}
		return fmt.Sprintf("%T:%d", t, size)
	}
}
