package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// promise is what an image is held to.
type promise struct {
	arch string // of the image, and of every program in it
	user string // as USER says it; empty for root
	most int64  // bytes of the archive
}

// machines are ELF's names of the architectures.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// check opens an archive and says everything that is not as promised: each file in the image has to be a program that
// needs no other.
func check(archive string, p promise) error {
	st, err := os.Stat(archive)
	if err != nil {
		return err
	}
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	var wrong []error
	if st.Size() > p.most {
		wrong = append(wrong, fmt.Errorf("it has %d bytes, %d at most", st.Size(), p.most))
	}
	if config.Architecture != p.arch || config.OS != "linux" {
		wrong = append(wrong, fmt.Errorf("it is for %s/%s, not linux/%s", config.OS, config.Architecture, p.arch))
	}
	if config.Config.User != p.user {
		wrong = append(wrong, fmt.Errorf("it runs as %q, not %q", config.Config.User, p.user))
	}
	return errors.Join(append(wrong, checkPrograms(image, machines[p.arch])...)...)
}

func checkPrograms(image v1.Image, machine elf.Machine) []error {
	files := mutate.Extract(image)
	defer files.Close()
	var wrong []error
	programs := 0
	for all := tar.NewReader(files); ; {
		h, err := all.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(wrong, err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		programs++
		if err := checkProgram(all, h, machine); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", h.Name, err))
		}
	}
	if programs == 0 {
		wrong = append(wrong, errors.New("there is no program in it"))
	}
	return wrong
}

// checkProgram reads one file: static means that nothing interprets or links it when it starts.
func checkProgram(r io.Reader, h *tar.Header, machine elf.Machine) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("no program: %w", err)
	}
	if f.Machine != machine {
		return fmt.Errorf("is for %v, not %v", f.Machine, machine)
	}
	if h.Mode&0o111 != 0o111 {
		return fmt.Errorf("mode %o: not everybody may run it", h.Mode)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("is not static: it has %v", p.Type)
		}
	}
	return nil
}
