package pin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/bpf"
)

// mustOpen opens a folder of the test's own, which is gone after it.
func mustOpen(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// folder is where a test pins; whatever is mounted there goes with the test.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bpf")
	t.Cleanup(func() {
		if there, err := Exists(dir); err != nil || !there {
			return
		}
		f, err := Take(dir)
		if err != nil {
			t.Error(err)
			return
		}
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		f.Close()
	})
	return dir
}

// specs are the dataplane's own, with small flow tables.
func specs(t *testing.T) map[string]*ebpf.MapSpec {
	t.Helper()
	c, err := bpf.LoadTC()
	if err != nil {
		t.Fatal(err)
	}
	small := map[string]*ebpf.MapSpec{}
	for _, name := range []string{bpf.MapVIPs, bpf.MapFlows, bpf.MapConfig} {
		small[name] = c.Maps[name]
	}
	small[bpf.MapFlows].MaxEntries = 4096
	return small
}

// mustPin makes maps and pins them.
func mustPin(t *testing.T, f *Folder, specs map[string]*ebpf.MapSpec) {
	t.Helper()
	made := map[string]*ebpf.Map{}
	defer CloseMaps(made)
	for name, spec := range specs {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = m
	}
	if err := f.PinMaps(made, specs); err != nil {
		t.Fatal(err)
	}
}

func TestMapsAreAdoptedWithTheirContent(t *testing.T) {
	dir := folder(t)
	f := mustOpen(t, dir)
	mustPin(t, f, specs(t))
	first, err := f.Maps(specs(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := first[bpf.MapVIPs].Put(uint32(7), bpf.VIP{Flags: 3}); err != nil {
		t.Fatal(err)
	}
	CloseMaps(first)
	f.Close()

	second, err := mustOpen(t, dir).Maps(specs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer CloseMaps(second)
	var got bpf.VIP
	if err := second[bpf.MapVIPs].Lookup(uint32(7), &got); err != nil || got.Flags != 3 {
		t.Errorf("read %+v, %v from the adopted map", got, err)
	}
}

func TestAnotherLayoutIsRefused(t *testing.T) {
	tests := []struct {
		name, want string
		change     func(map[string]*ebpf.MapSpec)
	}{
		{"a size", "it has room for 4096 entries, 8192 are asked for; give --max-flows as before", func(s map[string]*ebpf.MapSpec) {
			s[bpf.MapFlows].MaxEntries = 8192
		}},
		{"a size that no flag gives", "it has room for 4096 entries, 8192 are asked for; start the version that made it", func(s map[string]*ebpf.MapSpec) {
			s[bpf.MapVIPs].MaxEntries = 8192
		}},
		{"a longer value", "ValueSize: 8 changed to 12", func(s map[string]*ebpf.MapSpec) {
			s[bpf.MapVIPs].ValueSize, s[bpf.MapVIPs].Value = 12, nil
		}},
		{"members of the same size", "its entries are laid out otherwise", func(s map[string]*ebpf.MapSpec) {
			changed := *structOf(t, s[bpf.MapVIPs].Value)
			changed.Members = slices.Clone(changed.Members)
			changed.Members[1].Name, changed.Members[2].Name = changed.Members[2].Name, changed.Members[1].Name
			s[bpf.MapVIPs].Value = &changed
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t)
			f := mustOpen(t, dir)
			mustPin(t, f, specs(t))
			changed := specs(t)
			tt.change(changed)
			got, err := f.Maps(changed)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "nothing was touched") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if len(got) > 0 {
				t.Errorf("got %d maps of another layout", len(got))
			}
			same, err := f.Maps(specs(t))
			if err != nil || len(same) != len(changed) {
				t.Errorf("after that, %d maps are as before: %v", len(same), err)
			}
			CloseMaps(same)
		})
	}
}

func TestAnotherSchemaIsRefused(t *testing.T) {
	dir := folder(t)
	mustOpen(t, dir).Close()
	other := filepath.Join(dir, "v9", "maps")
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), "it has layout v9, this version knows v3") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("the other's pins: %v", err)
	}
}

func TestOneProcessHasTheFolder(t *testing.T) {
	dir := folder(t)
	f := mustOpen(t, dir)
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another weir uses it") {
		t.Errorf("a second one got %v", err)
	}
	f.Close()
	mustOpen(t, dir).Close()
}

func TestRemoveLeavesNothing(t *testing.T) {
	dir := folder(t)
	f := mustOpen(t, dir)
	mustPin(t, f, specs(t))
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if is, err := isBPFFS(filepath.Dir(dir)); is || err != nil {
		t.Errorf("still a BPF file system: %t, %v", is, err)
	}
}
