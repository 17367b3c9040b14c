package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// The files of a state folder. Only root reads them: they name every service
// of the cluster.
const (
	stateName = "state.json"
	// draftName is written whole, then takes the place of stateName.
	draftName = "state.json.new"
	lockName  = "lock"

	stateMode  fs.FileMode = 0o600
	folderMode fs.FileMode = 0o700
)

// StateFile keeps what owners want of a node over a restart. One process has
// it at a time; Close gives it back.
type StateFile struct {
	dir   string
	lock  *os.File
	saved Saved

	mu      sync.Mutex // held while the folder changes
	removed bool
	encoder encoder
}

// OpenStateFile takes the folder dir, which it makes when it is missing, and
// reads what is in it. A file that is damaged, or of a layout that this version
// does not know, is an error and stays as it is: to start with nothing would
// remove services that run (docs/adr/0006).
func OpenStateFile(dir string) (*StateFile, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("create state folder: %w; choose another --state-dir", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, stateMode)
	if err != nil {
		return nil, fmt.Errorf("lock state folder: %w; choose another --state-dir", err)
	}
	f := &StateFile{dir: dir, lock: lock}
	// The lock is the process's: it ends with it, however it ends.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = fmt.Errorf("lock state folder %s: another weir uses it (%w); stop that one or choose another --state-dir", dir, err)
		return nil, errors.Join(err, lock.Close())
	}
	if f.saved, err = f.read(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// Saved is what was in the file when it was opened.
func (f *StateFile) Saved() Saved { return f.saved }

// Restored tells whether an earlier run has left a file.
func (f *StateFile) Restored() bool { return f.saved.States != nil }

// Remove takes the file away, and the folder if nothing else is in it: a weir
// that starts afterwards knows of no earlier run, and Save writes no more. Call
// Close after it.
func (f *StateFile) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = true
	for _, name := range []string{stateName, draftName, lockName} {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove state file: %w", err)
		}
	}
	if err := os.Remove(f.dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("remove state folder: %w", err)
	}
	return nil
}

// Close lets another process have the folder.
func (f *StateFile) Close() error { return f.lock.Close() }

func (f *StateFile) read() (Saved, error) {
	path := filepath.Join(f.dir, stateName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Saved{}, nil
	}
	if err != nil {
		return Saved{}, fmt.Errorf("read state file: %w", err)
	}
	s, err := decodeSaved(data)
	if err != nil {
		return Saved{}, fmt.Errorf("read state file %s: %w; nothing was touched: start the version that wrote it, "+
			"or move the file away and let the owners send their states again", path, err)
	}
	return s, nil
}

// Save replaces the file, which is at any moment the old one or the new one
// whole, and returns when the new one is on the disk.
func (f *StateFile) Save(s Saved) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.removed {
		return nil
	}
	data, err := f.encoder.encode(s)
	if err != nil {
		return err
	}
	draft := filepath.Join(f.dir, draftName)
	if err := writeSynced(draft, data); err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	if err := os.Rename(draft, filepath.Join(f.dir, stateName)); err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	if err := syncFolder(f.dir); err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	return nil
}

// writeSynced writes a file and waits for the disk.
func writeSynced(path string, data []byte) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, stateMode)
	if err != nil {
		return err
	}
	if _, err := out.Write(data); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Sync(); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}

// syncFolder waits until a rename in dir is on the disk.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
