package pin

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
)

const (
	mapsFolder  = "maps"
	linksFolder = "links"
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
		if err := compatible(spec, m); err != nil {
			return adopted, fmt.Errorf("adopt map %s, nothing was touched: %w", f.path(mapsFolder, name), err)
		}
	}
	return adopted, nil
}

// PinMaps pins those of the maps that are not pinned yet.
func (f *Folder) PinMaps(maps map[string]*ebpf.Map) error {
	if err := f.make(mapsFolder); err != nil {
		return err
	}
	for name, m := range maps {
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
