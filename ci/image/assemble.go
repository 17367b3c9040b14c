package main

import (
	"compress/gzip"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// path is what programs are looked for in, as in Docker's own images.
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// assemble makes a recipe's image. Its layers are read from files in the folder scratch, as long as the image is used.
func assemble(r recipe, where folders, arch, scratch string) (v1.Image, error) {
	image, err := layered(r, where, scratch)
	if err != nil {
		return nil, err
	}
	return configured(image, r.config, arch)
}

// layered is an image without a configuration, a layer a step.
func layered(r recipe, where folders, scratch string) (v1.Image, error) {
	var image v1.Image = empty.Image
	for i, s := range r.steps {
		files, err := s.archives(where, filepath.Join(scratch, fmt.Sprintf("%d.tar", i)))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			// The archive goes from disk to disk of one machine: time counts, size does not.
			layer, err := tarball.LayerFromFile(f, tarball.WithCompressionLevel(gzip.NoCompression))
			if err != nil {
				return nil, err
			}
			if image, err = mutate.AppendLayers(image, layer); err != nil {
				return nil, err
			}
		}
	}
	return image, nil
}

// archives is what a step adds, as tar archives: those it names, or one of the files it names, written to scratch.
func (s step) archives(where folders, scratch string) ([]string, error) {
	root, ok := where[s.stage]
	if !ok {
		return nil, fmt.Errorf("COPY --from=%s: say -from %s=FOLDER", s.stage, s.stage)
	}
	var found []string
	for _, source := range s.sources {
		match, err := filepath.Glob(filepath.Join(root, source))
		if err != nil {
			return nil, err
		}
		if len(match) == 0 {
			return nil, fmt.Errorf("%s is not in %s: build it first", source, root)
		}
		found = append(found, match...)
	}
	if s.unpack {
		return found, nil
	}
	return []string{scratch}, pack(scratch, found, s.to)
}

func configured(image v1.Image, c v1.Config, arch string) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = arch, "linux"
	file.Config = c
	file.Config.Env = environment(c.Env)
	return mutate.ConfigFile(image, file)
}

// environment is what ENV says, and path where it says none: as in Docker, what comes later takes the place of what has
// its name.
func environment(said []string) []string {
	all := []string{path}
	for _, entry := range said {
		name, _, _ := strings.Cut(entry, "=")
		if i := slices.IndexFunc(all, func(e string) bool { return strings.HasPrefix(e, name+"=") }); i >= 0 {
			all[i] = entry
		} else {
			all = append(all, entry)
		}
	}
	return all
}
