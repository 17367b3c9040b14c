package pin

import (
	"testing"

	"github.com/cilium/ebpf/btf"
)

func structOf(t *testing.T, ty btf.Type) *btf.Struct {
	t.Helper()
	s, ok := btf.UnderlyingType(ty).(*btf.Struct)
	if !ok {
		t.Fatalf("%T is no struct", ty)
	}
	return s
}

func TestLayoutSeesEveryDifference(t *testing.T) {
	u16, u32 := &btf.Int{Name: "u16", Size: 2}, &btf.Int{Name: "u32", Size: 4}
	of := func(members ...btf.Member) string { return layout(&btf.Struct{Members: members}) }
	base := of(btf.Member{Name: "a", Type: u32}, btf.Member{Name: "b", Type: u32, Offset: 32})
	if named := of(btf.Member{Name: "a", Type: &btf.Typedef{Name: "__be32", Type: u32}}, btf.Member{Name: "b", Type: u32, Offset: 32}); named != base {
		t.Errorf("the name of a typedef counts: %s, %s", named, base)
	}
	for name, other := range map[string]string{
		"order":  of(btf.Member{Name: "b", Type: u32}, btf.Member{Name: "a", Type: u32, Offset: 32}),
		"type":   of(btf.Member{Name: "a", Type: u16}, btf.Member{Name: "b", Type: u32, Offset: 32}),
		"offset": of(btf.Member{Name: "a", Type: u32}, btf.Member{Name: "b", Type: u32, Offset: 64}),
		"fewer":  of(btf.Member{Name: "a", Type: u32}),
		"array":  of(btf.Member{Name: "a", Type: &btf.Array{Type: u16, Nelems: 2}}, btf.Member{Name: "b", Type: u32, Offset: 32}),
		"nested": of(btf.Member{Name: "a", Type: &btf.Struct{Members: []btf.Member{{Name: "x", Type: u32}}}}, btf.Member{Name: "b", Type: u32, Offset: 32}),
	} {
		if other == base {
			t.Errorf("%s: not seen in %s", name, base)
		}
	}
}
