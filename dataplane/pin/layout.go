package pin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/weir-lb/weir/bpf"
)

// compatible says why a pinned map is not what its spec asks for, nil when it
// is.
func (f *Folder) compatible(name string, spec *ebpf.MapSpec, m *ebpf.Map) error {
	then := "start the version that made it, or stop that with `weirctl drain` first"
	if m.MaxEntries() != spec.MaxEntries && m.Type() == spec.Type {
		if name == bpf.MapFlows || name == bpf.MapFlowsNew {
			then = "give --max-flows as before, or stop the version that made it with `weirctl drain` first"
		}
		return fmt.Errorf("it has room for %d entries, %d are asked for; %s", m.MaxEntries(), spec.MaxEntries, then)
	}
	if err := spec.Compatible(m); err != nil {
		return fmt.Errorf("%w; %s", err, then)
	}
	if _, err := os.Lstat(f.path(layoutsFolder, noteOf(name, spec))); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("its entries are laid out otherwise, or nobody noted how; %s", then)
	} else if err != nil {
		return fmt.Errorf("its layout is not known: %w; %s", err, then)
	}
	return nil
}

// noteLayout notes how a map that is about to be pinned is laid out. The kernel
// knows it too, by BTF, and tells only who has CAP_SYS_ADMIN. A file system of
// BPF has folders and pins, so the note is the name of a folder.
func (f *Folder) noteLayout(name string, spec *ebpf.MapSpec) error {
	if err := f.make(layoutsFolder); err != nil {
		return err
	}
	notes, err := os.ReadDir(f.path(layoutsFolder))
	if err != nil {
		return fmt.Errorf("note the layout of map %s: %w", name, err)
	}
	for _, n := range notes { // of a map of that name that is pinned no more
		if strings.HasPrefix(n.Name(), name+"-") {
			if err := os.Remove(f.path(layoutsFolder, n.Name())); err != nil {
				return fmt.Errorf("note the layout of map %s: %w", name, err)
			}
		}
	}
	return f.make(layoutsFolder + "/" + noteOf(name, spec))
}

// noteOf is the name of the map and a hash of the layout of key and value.
func noteOf(name string, spec *ebpf.MapSpec) string {
	var text strings.Builder
	for _, t := range []btf.Type{spec.Key, spec.Value} {
		if t != nil {
			text.WriteString(shape(t))
		}
		text.WriteString("; ")
	}
	return fmt.Sprintf("%s-%x", name, sha256.Sum256([]byte(text.String())))[:len(name)+17]
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
