package main

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// packer writes a layer: every file root's, with one time, in one order, so that the same files give the same bytes.
type packer struct {
	tar  *tar.Writer
	made map[string]bool // folders that are in the archive
}

// pack writes files, and folders with all inside them, into an archive under to: a folder if it ends in a slash or a
// folder is copied, else the one file's name, as COPY has it.
func pack(archive string, sources []string, to string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	p := packer{tar.NewWriter(f), map[string]bool{}}
	for _, s := range sources {
		if err = p.source(s, strings.TrimPrefix(to, "/")); err != nil {
			break
		}
	}
	return errors.Join(err, p.tar.Close(), f.Close())
}

func (p packer) source(source, to string) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		if to == "" || strings.HasSuffix(to, "/") {
			to += filepath.Base(source)
		}
		return p.file(source, filepath.Clean(to))
	}
	return filepath.WalkDir(source, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		name := filepath.Join(to, inside)
		if d.IsDir() {
			return p.folder(name)
		}
		return p.file(file, name)
	})
}

// folder adds a folder and those it is in.
func (p packer) folder(name string) error {
	if name == "." || name == "" || p.made[name] {
		return nil
	}
	if err := p.folder(filepath.Dir(name)); err != nil {
		return err
	}
	p.made[name] = true
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

// file adds a regular file or a symbolic link.
func (p packer) file(file, name string) error {
	if err := p.folder(filepath.Dir(name)); err != nil {
		return err
	}
	st, err := os.Lstat(file)
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(st.Mode().Perm()), Size: st.Size(), ModTime: time.Unix(0, 0)}
	if st.Mode()&fs.ModeSymlink != 0 {
		if h.Linkname, err = os.Readlink(file); err != nil {
			return err
		}
		h.Typeflag, h.Size = tar.TypeSymlink, 0
		return p.tar.WriteHeader(h)
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(p.tar, f)
	return errors.Join(err, f.Close())
}
