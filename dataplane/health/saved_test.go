package health

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// What is down when a run ends is down when the next one begins, with its
// error and since when, until its probes say otherwise.
func TestVerdictsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, all := newScript(), targets(6)
		all[1].Spec = v1.ProbeSpec{PeriodMilliseconds: 1000, Expect: "pong"}
		s.kill(all[1], all[3])
		m, stop := run(t, s)
		m.Watch(all)
		<-time.After(time.Minute)
		synctest.Wait()
		stop()
		before := m.Report()
		if err := NewFile(dir).Save(m, time.Now()); err != nil {
			t.Fatal(err)
		}

		<-time.After(maxAge - time.Second) // weir is away
		m, stop = run(t, s)
		defer stop()
		if err := NewFile(dir).Restore(m, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.revive(all[1])
		m.Watch(all)
		after := m.Report()
		for i, target := range all {
			got, want := after[target], before[target]
			if got.Down != want.Down || got.Down != (i == 1 || i == 3) {
				t.Errorf("%v: down %t, was %t", target, got.Down, want.Down)
			}
			if got.Down && (got.Probe.Error != want.Probe.Error || !got.Probe.Since.Equal(want.Probe.Since)) {
				t.Errorf("%v: %+v, was %+v", target, got.Probe, want.Probe)
			}
		}
		<-m.Changed()
		if after := m.Report(); after[all[1]].Down || !after[all[3]].Down {
			t.Errorf("after the first probes: %+v", after)
		}
	})
}

func TestVerdictsThatDoNotCount(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	good := `{"version":1,"saved":"2026-01-02T03:04:00Z","down":[{"target":{"type":"tcp","address":"10.0.0.0:80"},"probe":{"type":"tcp","healthy":false}}]}`
	for _, tt := range []struct {
		name, content string
		down          int
		wrong         bool
	}{
		{"as written", good, 1, false},
		{"too old", strings.Replace(good, "03:04:00", "02:59:00", 1), 0, false},
		{"from the future", strings.Replace(good, "03:04:00", "04:00:00", 1), 0, false},
		{"of another layout", strings.Replace(good, `"version":1`, `"version":2`, 1), 0, false},
		{"cut short", good[:60], 0, true},
		{"empty", "", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "health.json"), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			m := New(newScript(), Timing{})
			if err := NewFile(dir).Restore(m, now); (err != nil) != tt.wrong {
				t.Errorf("error %v", err)
			}
			m.Watch(targets(1))
			if got := downs(m); got != tt.down {
				t.Errorf("%d are down, want %d", got, tt.down)
			}
		})
	}
}

// A node on which all is well writes nothing, and one that is left has no file.
func TestFileIsThereOnlyWhenNeeded(t *testing.T) {
	dir := t.TempDir()
	f, m := NewFile(dir), New(newScript(), Timing{})
	for _, err := range []error{f.Restore(m, time.Now()), f.Save(m, time.Now())} {
		if err != nil {
			t.Error(err)
		}
	}
	expectFiles(t, dir, 0)
	m.restored[targets(1)[0]] = v1.Probe{Type: "tcp"}
	if err := f.Save(m, time.Now()); err != nil {
		t.Error(err)
	}
	expectFiles(t, dir, 1)
	for range 2 {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	}
	expectFiles(t, dir, 0)
}

func expectFiles(t *testing.T, dir string, want int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != want {
		t.Errorf("files %v (%v), want %d", entries, err, want)
	}
}
