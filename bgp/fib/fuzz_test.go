package fib

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLedger holds that a file of own routes is read as it would be written, or
// refused in one line and left as it is. BOOT stands for this boot of the machine.
func FuzzLedger(f *testing.F) {
	for _, seed := range []string{
		`{"boot":"BOOT","routes":[{"prefix":"123.123.123.1/32","metric":30},{"prefix":"192.0.2.0/24","metric":0}]}`,
		`{"boot":"BOOT","routes":[{"prefix":"10.0.0.1/8","metric":-1},{"prefix":"","metric":1},{}]}`, `{"boot":"BOOT","routes":null}`,
		`{"boot":"earlier","routes":[{"prefix":"192.0.2.1/32","metric":30}]}`, `{"boot":`, `null`, "", "\x00\x00\x00\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		empty, err := OpenLedger(dir)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "BOOT", empty.boot)
		path := filepath.Join(dir, ledgerName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := OpenLedger(dir)
		if err != nil {
			left, readErr := os.ReadFile(path)
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) || readErr != nil || string(left) != text {
				t.Fatalf("refused by %q; the file is %q, %v", err, left, readErr)
			}
			return
		}
		if len(l.keys) > 0 && !strings.Contains(text, l.boot) {
			t.Fatalf("%d routes of another boot", len(l.keys))
		}
		if err := l.save(l.keys); err != nil {
			t.Fatal(err)
		}
		if again, err := OpenLedger(dir); err != nil || !maps.Equal(again.keys, l.keys) {
			t.Fatalf("%v became %v, %v", l.keys, again, err)
		}
	})
}
