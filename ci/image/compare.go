package main

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// compare opens two archives and says everything in which a container of the first image would differ from one of the
// second: files with their bytes, modes and owners; what is started, as whom, with which environment. Times and history
// are not looked at: docker build notes when it ran.
func compare(archive, with string) error {
	var seen [2]map[string]string
	for i, file := range []string{archive, with} {
		image, err := tarball.ImageFromPath(file, nil)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if seen[i], err = settings(image); err != nil {
			return err
		}
		if err := addFiles(seen[i], image); err != nil {
			return err
		}
	}
	have, want := seen[0], seen[1]
	var wrong []error
	for _, what := range slices.Sorted(maps.Keys(have)) {
		if w, ok := want[what]; !ok {
			wrong = append(wrong, fmt.Errorf("%s is there (%s), and is not in %s", what, have[what], with))
		} else if have[what] != w {
			wrong = append(wrong, fmt.Errorf("%s is %s, in %s %s", what, have[what], with, w))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(want)) {
		if _, ok := have[what]; !ok {
			wrong = append(wrong, fmt.Errorf("%s is not there; in %s it is %s", what, with, want[what]))
		}
	}
	return errors.Join(wrong...)
}

// settings are the platform and what a configuration says, by its names in JSON.
func settings(image v1.Image) (map[string]string, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	c := file.Config
	c.Image = ""                             // Docker's older builder notes the step before
	c.WorkingDir = cmp.Or(c.WorkingDir, "/") // BuildKit says what no word means
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	all := map[string]string{"platform": file.OS + "/" + file.Architecture}
	for name, value := range fields {
		all[name] = string(value)
	}
	return all, nil
}

// addFiles adds what the layers of an image amount to, by name from the root.
func addFiles(all map[string]string, image v1.Image) error {
	files := mutate.Extract(image)
	defer files.Close()
	for archive := tar.NewReader(files); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, archive); err != nil {
			return err
		}
		all["/"+strings.Trim(h.Name, "/")] = fmt.Sprintf("type %c, mode %o, owner %d:%d, link %q, attributes %v, sha256 %x",
			h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Linkname, attributes(h), hash.Sum(nil))
	}
}

// attributes are a file's extended ones, capabilities among them.
func attributes(h *tar.Header) map[string]string {
	all := maps.Clone(h.PAXRecords)
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.HasPrefix(name, "SCHILY.xattr.") })
	return all
}
