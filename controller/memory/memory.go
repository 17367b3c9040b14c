// Package memory keeps what must survive a restart of the controller in a
// file: the addresses that services hold, the order of the nodes, and the last
// epoch, so that generations only grow even when the clock does not.
package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-lb/weir/controller"
)

// File is the memory on disk. It must not be used concurrently, nor by two
// controllers.
type File struct {
	path    string
	content content
}

type content struct {
	Epoch  uint64            `json:"epoch"`
	Memory controller.Memory `json:"memory"`
}

// Open reads the file, which need not exist, and starts a new epoch: later
// than the last one and, as far as the clock is right, than that of any
// controller that had another file.
func Open(path string, now time.Time) (*File, error) {
	f := &File{path: path}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read memory: %w", err)
	default:
		if err := json.Unmarshal(data, &f.content); err != nil {
			return nil, fmt.Errorf("read memory %s: %w; remove the file to give addresses anew", path, err)
		}
		if f.content.Epoch == math.MaxUint64 {
			return nil, fmt.Errorf("read memory %s: no epoch is later than its own; remove the file to give addresses anew", path)
		}
	}
	// Milliseconds: exact in JSON, where numbers are doubles to many readers.
	f.content.Epoch = max(f.content.Epoch+1, uint64(now.UnixMilli()))
	return f, f.write()
}

// Epoch is the epoch that Open started.
func (f *File) Epoch() uint64 { return f.content.Epoch }

// Memory is what was saved last.
func (f *File) Memory() controller.Memory { return f.content.Memory }

// Save replaces the memory. After an error the file has the old one.
func (f *File) Save(m controller.Memory) error {
	f.content.Memory = m
	return f.write()
}

// write replaces the file in one step that survives a crash.
func (f *File) write() error {
	data, err := json.MarshalIndent(f.content, "", "  ")
	if err != nil {
		return fmt.Errorf("write memory: %w", err)
	}
	if err := f.replace(append(data, '\n')); err != nil {
		return fmt.Errorf("write memory: %w; is the folder there and writable?", err)
	}
	return nil
}

func (f *File) replace(data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
