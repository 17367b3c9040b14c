package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Link opens the pinned link of that name; nil without one. The caller closes
// it.
func (f *Folder) Link(name string) (link.Link, error) {
	l, err := link.LoadPinnedLink(f.path(linksFolder, name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("adopt link %s: %w", name, err)
	}
	return l, nil
}

// PinLink pins a link under a name that is free.
func (f *Folder) PinLink(name string, l link.Link) error {
	if err := f.make(linksFolder); err != nil {
		return err
	}
	if err := l.Pin(f.path(linksFolder, name)); err != nil {
		return fmt.Errorf("pin link %s: %w", name, err)
	}
	return nil
}

// Mark leaves a pin of that name, of p: a file system of BPF takes nothing but
// BPF objects. A name that is marked is success.
func (f *Folder) Mark(name string, p *ebpf.Program) error {
	if err := f.make(linksFolder); err != nil {
		return err
	}
	// A clone, as a program knows of one pin only.
	c, err := p.Clone()
	if err != nil {
		return fmt.Errorf("mark %s: %w", name, err)
	}
	defer c.Close()
	if err := c.Pin(f.path(linksFolder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("mark %s: %w", name, err)
	}
	return nil
}

// Names lists links and marks.
func (f *Folder) Names() ([]string, error) {
	entries, err := os.ReadDir(f.path(linksFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pinned links: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Unpin removes the pin of a link or a mark; an absent one is success. A link
// that nobody holds open is detached by it.
func (f *Folder) Unpin(name string) error {
	if err := os.Remove(f.path(linksFolder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin %s: %w", name, err)
	}
	return nil
}
