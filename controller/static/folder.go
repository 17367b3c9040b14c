package static

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-lb/weir/controller"
)

// maxFile bounds a manifest file, in bytes: 10 000 services with their slices
// are some 20 MB.
const maxFile = 64 << 20

// Load reads the folder once. The error says that it cannot be read; what is
// wrong with a manifest is a Problem of the Update.
func Load(dir string) (controller.Update, error) {
	l := library{dir: dir}
	files, err := readFolder(dir)
	l.load(files, err)
	return l.update(), err
}

// readFolder reads the manifests of a folder, by name; folders in it are left
// alone, as kubectl does.
func readFolder(dir string) (map[string]file, error) {
	names, err := manifestNames(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]file, len(names))
	for _, name := range names {
		data, err := readFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue // between the list and the reading it was removed
		}
		files[name] = file{data, err}
	}
	return files, nil
}

func manifestNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w; create the folder, or give another one with --manifests", err)
	}
	var names []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			// A dot file is an editor's, and not yet complete.
			if !e.IsDir() && e.Name()[0] != '.' {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("is over %d MiB; split it", maxFile>>20)
	}
	return data, err
}

// stamp tells cheaply whether files changed: size and time by name.
type stamp map[string]fileStamp

type fileStamp struct {
	size int64
	time time.Time
}

func stampFolder(dir string) stamp {
	s := stamp{}
	names, err := manifestNames(dir)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			s[name] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return s
}

// equal tells a missing folder, nil, from an empty one.
func (s stamp) equal(o stamp) bool { return (s == nil) == (o == nil) && maps.Equal(s, o) }

// sameFiles compares what was read.
func sameFiles(a, b map[string]file) bool {
	return (a == nil) == (b == nil) && maps.EqualFunc(a, b, func(x, y file) bool {
		return slices.Equal(x.data, y.data) && fmt.Sprint(x.err) == fmt.Sprint(y.err)
	})
}
