package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// maxAge bounds how old a verdict may be that a run takes over: after longer
// than that a backend is as likely to be back. A wrong one costs a second or
// two, until the first probes have answered.
const maxAge = 5 * time.Minute

// fileVersion is of the layout of a File; one of another is not read.
const fileVersion = 1

// File keeps the verdicts on what is down over a restart, so that no dead
// backend gets new flows again until its probes have failed once more. It is
// not safe for concurrent use.
type File struct {
	path string
	// empty says that the file there tells of nothing.
	empty bool
}

type savedVerdicts struct {
	Version int          `json:"version"`
	Saved   time.Time    `json:"saved"`
	Down    []savedProbe `json:"down"`
}

type savedProbe struct {
	Target Target   `json:"target"`
	Probe  v1.Probe `json:"probe"`
}

// NewFile returns the file of a folder that exists.
func NewFile(folder string) *File { return &File{path: filepath.Join(folder, "health.json")} }

// Restore hands the verdicts of an earlier run over to m, before the targets
// are watched. None, damaged or old ones are none: all are taken for healthy
// then, and the error says why where it was not the age.
func (f *File) Restore(m *Monitor, now time.Time) error {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.empty = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read verdicts on backends: %w; they start as healthy", err)
	}
	var s savedVerdicts
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("read verdicts on backends: %s: %w; they start as healthy", f.path, err)
	}
	if age := now.Sub(s.Saved); s.Version != fileVersion || age > maxAge || age < -maxAge {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range s.Down {
		m.restored[d.Target] = d.Probe
	}
	return nil
}

// Save replaces the file by what m knows now; it is the old or the new one
// whole at any moment. It does not wait for the disk: when the machine dies,
// so may the verdicts.
func (f *File) Save(m *Monitor, now time.Time) error {
	s := savedVerdicts{Version: fileVersion, Saved: now, Down: m.down()}
	if len(s.Down) == 0 && f.empty {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write verdicts on backends: %w", err)
	}
	draft := f.path + ".new"
	if err := os.WriteFile(draft, data, 0o600); err != nil {
		return fmt.Errorf("write verdicts on backends: %w", err)
	}
	if err := os.Rename(draft, f.path); err != nil {
		return fmt.Errorf("write verdicts on backends: %w", err)
	}
	f.empty = len(s.Down) == 0
	return nil
}

// Remove takes the file away; none is success.
func (f *File) Remove() error {
	for _, path := range []string{f.path, f.path + ".new"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove verdicts on backends: %w", err)
		}
	}
	return nil
}

// down returns the verdicts worth keeping: those made, and those restored that
// nobody has asked for yet.
func (m *Monitor) down() []savedProbe {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []savedProbe{}
	for t, e := range m.endpoints {
		if e.verdict.down && e.last != nil {
			all = append(all, savedProbe{t, *e.last})
		}
	}
	for t, p := range m.restored {
		all = append(all, savedProbe{t, p})
	}
	slices.SortFunc(all, func(a, b savedProbe) int {
		if c := a.Target.Address.Compare(b.Target.Address); c != 0 {
			return c
		}
		return strings.Compare(string(a.Target.Type), string(b.Target.Type))
	})
	return all
}
