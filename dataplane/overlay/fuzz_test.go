package overlay

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzNotes holds that notes which are taken are settings, to which more can be
// added and which the next run reads as they are; others are refused in one line.
func FuzzNotes(f *testing.F) {
	for _, seed := range []string{
		`{"flannel.1":1,"vxlan.calico":0}`, `{}`, `null`, "", "\x00\x00", `{"a":2}`, `{"a":-1}`, `{"a":99999}`, `{"a":1.5}`, `[]`, `{"a":1`, `{"":1}`, `{"../all":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, notesName)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := openNotes(dir)
		if err != nil {
			left, readErr := os.ReadFile(path)
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) || readErr != nil || string(left) != string(data) {
				t.Fatalf("refused by %q; the file is %q, %v", err, left, readErr)
			}
			return
		}
		for device, own := range n.settings {
			if own < 0 || own > loose {
				t.Fatalf("%q had the setting %d, which the kernel does not know", device, own)
			}
		}
		if err := n.add("weir-fuzz", 1); err != nil {
			t.Fatal(err)
		}
		again, err := openNotes(dir)
		if err != nil || !maps.Equal(again.settings, n.settings) {
			t.Fatalf("%v became %v, %v", n.settings, again, err)
		}
	})
}
