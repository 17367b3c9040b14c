package overlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// notesName is the file that remembers settings beside the node's state.
const notesName = "rp_filter.json"

// notes are the settings as they were before the first change, by device.
type notes struct {
	path     string // "" keeps them in memory only
	settings map[string]int
	unsaved  bool // the file lacks some
}

func openNotes(dir string) (*notes, error) {
	n := &notes{settings: map[string]int{}}
	if dir == "" {
		return n, nil
	}
	n.path = filepath.Join(dir, notesName)
	b, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	// A machine that died may have left a name without content, and the settings
	// went with it.
	if err == nil && len(bytes.Trim(b, "\x00")) > 0 {
		n.settings, err = decodeNotes(b)
	}
	if err != nil {
		return nil, fmt.Errorf("read what reverse path filters were: %w; remove %s to forget it", err, n.path)
	}
	return n, nil
}

func decodeNotes(b []byte) (map[string]int, error) {
	settings := map[string]int{}
	if err := json.Unmarshal(b, &settings); err != nil {
		return nil, err
	}
	if settings == nil {
		return nil, errors.New("it has no settings")
	}
	for device, own := range settings {
		if own < 0 || own > loose {
			return nil, fmt.Errorf("%q has %d, which is no setting", device, own)
		}
	}
	return settings, nil
}

// add remembers a device's setting. The latest stands: a device that was made
// anew, or set by somebody, has the setting that they gave it. The error is that a
// later run will not know of it, unless save comes to more.
func (n *notes) add(device string, own int) error {
	if was, ok := n.settings[device]; !ok || was != own {
		n.settings[device] = own
		n.unsaved = n.path != ""
	}
	if err := n.save(); err != nil {
		return fmt.Errorf("remember reverse path filter of %s: %w", device, err)
	}
	return nil
}

// save writes what the file lacks.
func (n *notes) save() error {
	if !n.unsaved {
		return nil
	}
	b, err := json.Marshal(n.settings)
	if err == nil {
		err = replace(n.path, b)
	}
	n.unsaved = err != nil
	return err
}

// replace writes the file whole or not at all.
func replace(path string, b []byte) error {
	draft := path + ".new"
	if err := os.WriteFile(draft, b, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

func (n *notes) remove() error {
	n.settings, n.unsaved = map[string]int{}, false
	if n.path == "" {
		return nil
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget reverse path filters: %w", err)
	}
	return nil
}
