package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
)

const (
	mapsFolder    = "maps"
	layoutsFolder = "layouts"
	linksFolder   = "links"
)

// Maps opens those of the maps that are pinned. One that is not exactly as its
// spec says is an error and stays as it is, with all others. The caller closes
// what it gets.
func (f *Folder) Maps(specs map[string]*ebpf.MapSpec) (adopted map[string]*ebpf.Map, err error) {
	adopted = map[string]*ebpf.Map{}
	defer func() {
		if err != nil {
			CloseMaps(adopted)
			adopted = nil
		}
	}()
	for name, spec := range specs {
		m, err := ebpf.LoadPinnedMap(f.path(mapsFolder, name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return adopted, fmt.Errorf("adopt map %s: %w", name, err)
		}
		adopted[name] = m
		if err := f.compatible(name, spec, m); err != nil {
			return adopted, fmt.Errorf("adopt map %s, nothing was touched: %w", f.path(mapsFolder, name), err)
		}
	}
	return adopted, nil
}

// PinMaps pins those of the maps that are not pinned yet, each with the layout
// that its spec says.
func (f *Folder) PinMaps(maps map[string]*ebpf.Map, specs map[string]*ebpf.MapSpec) error {
	if err := f.make(mapsFolder); err != nil {
		return err
	}
	for name, m := range maps {
		if _, err := os.Lstat(f.path(mapsFolder, name)); err == nil {
			continue
		}
		if err := f.noteLayout(name, specs[name]); err != nil {
			return err
		}
		if err := m.Pin(f.path(mapsFolder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	return nil
}

// CloseMaps lets go of maps. Pinned ones stay.
func CloseMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		_ = m.Close() // nothing is written back
	}
}
