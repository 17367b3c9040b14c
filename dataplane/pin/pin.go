// Package pin keeps maps and links in a BPF file system, so that they outlive
// the process: packets are forwarded while weir restarts, and the next weir
// adopts what it finds.
//
//	<folder>/v3/maps/flows              a map by its name in the BPF object
//	<folder>/v3/layouts/flows-5d1c...   a folder that says how its entries are laid out
//	<folder>/v3/links/tc-3              the link of a hook and an interface's index
//	<folder>/v3/links/qdisc-3           a program that marks a clsact qdisc as ours
//
// A pinned link holds its program, so programs have no pins of their own.
package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// Schema numbers what the maps mean. Whoever changes the meaning of a field,
// or lets the programs expect of a map what older ones did not keep, takes the
// next number. A changed layout is noticed without it, by the folder's layouts.
const Schema = 3

// Only root reads what is pinned.
const mode fs.FileMode = 0o700

// Folder is a pin folder that this process alone works in. It is not safe for
// concurrent use, but for its methods Link, PinLink and the like.
type Folder struct {
	dir    string
	layout string // version(), but for Layouts
	lock   *os.File
}

// Open takes the folder dir, which it makes when it is missing, on a BPF file
// system that it mounts when there is none. It refuses what another layout has
// left, and a folder that another process works in.
func Open(dir string) (*Folder, error) {
	if err := Prepare(dir); err != nil {
		return nil, err
	}
	f, err := Take(dir)
	if err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Prepare makes the folder dir on a BPF file system, as Open does, for an Open
// that may not mount.
func Prepare(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("open pin folder: %w", err)
	}
	return onBPFFS(dir)
}

// Take is Open for a folder that is there, to remove it: of whatever layout.
func Take(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open pin folder: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open pin folder: %w; choose another --pin-dir", err)
	}
	// The lock is the process's: it ends with it, however it ends.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = fmt.Errorf("lock pin folder %s: another weir uses it (%w); stop that one or choose another --pin-dir", dir, err)
		return nil, errors.Join(err, lock.Close())
	}
	return &Folder{dir: dir, layout: version(), lock: lock}, nil
}

// Exists tells whether dir is a folder of a BPF file system, as Open makes it.
func Exists(dir string) (bool, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look at pin folder: %w", err)
	}
	return isBPFFS(dir)
}

// check refuses folders of other schemas: their programs forward packets by
// maps that this version cannot read.
func (f *Folder) check() error {
	layouts, err := f.layouts()
	if err != nil {
		return err
	}
	for _, name := range layouts {
		if name != version() {
			return fmt.Errorf("adopt %s, nothing was touched: it has layout %s, this version knows %s; "+
				"start the version that made it, or stop it for good with `weir --cleanup` (flows end)",
				filepath.Join(f.dir, name), name, version())
		}
	}
	return nil
}

// Layouts returns the folder as each of the schemas has it that are in it, for who
// is to remove what they have pinned. They end with f.
func (f *Folder) Layouts() ([]*Folder, error) {
	names, err := f.layouts()
	all := make([]*Folder, len(names))
	for i, name := range names {
		all[i] = &Folder{dir: f.dir, layout: name, lock: f.lock}
	}
	return all, err
}

// layouts lists the folders of schemas. The kernel has files of its own at the
// root of a BPF file system.
func (f *Folder) layouts() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("read pin folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && layoutName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

var layoutName = regexp.MustCompile(`^v[0-9]+$`)

func version() string { return fmt.Sprintf("v%d", Schema) }

func (f *Folder) path(parts ...string) string {
	return filepath.Join(append([]string{f.dir, f.layout}, parts...)...)
}

// make creates a folder of pins.
func (f *Folder) make(name string) error {
	if err := os.MkdirAll(f.path(name), mode); err != nil {
		return fmt.Errorf("create pin folder: %w", err)
	}
	return nil
}

// Close lets another process have the folder. What is pinned stays.
func (f *Folder) Close() error { return f.lock.Close() }

// Remove takes all pins away, of whatever layout, and the folder with them, and
// unmounts what Open mounted. Maps and programs that nothing else holds end.
func (f *Folder) Remove() error {
	layouts, err := f.layouts()
	if err != nil {
		return err
	}
	for _, name := range layouts {
		if err := os.RemoveAll(filepath.Join(f.dir, name)); err != nil {
			return fmt.Errorf("remove pins: %w", err)
		}
	}
	return removeFolder(f.dir)
}
