// Command image makes container images without a daemon: what `docker build` makes of the last stage of a Dockerfile
// that begins FROM scratch, as the archive that `docker load` and `ctr images import` read. The same files give the
// same bytes.
//
//	image -f weir.Dockerfile -from build=bin -t weir:dev -o weir.tar     COPY --from=build reads the folder bin
//	image -f node.Dockerfile -context out -t node:dev -o node.tar        COPY and ADD read the folder out
//	image -digest node.tar                                               the image's id, as Docker and containerd say it
//	image -check weir.tar -arch arm64 -user 65532:65532 -most 60000000   an error unless it is of nothing but static
//	                                                                     programs, and the rest is so
//	image -compare weir.tar -with other.tar                              an error that says in what a container of the one
//	                                                                     would differ from one of the other
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	file := flags.String("f", "Dockerfile", "the Dockerfile, - for what is piped in")
	tag := flags.String("t", "", "NAME:TAG of the image")
	out := flags.String("o", "", "archive to write")
	arch := flags.String("arch", runtime.GOARCH, "architecture of the programs: amd64 or arm64")
	digest := flags.String("digest", "", "print the id of the image in this archive, and do nothing else")
	held := flags.String("check", "", "hold the image in this archive to -arch, -user and -most, and to static programs, and do nothing else")
	user := flags.String("user", "", "with -check: whom it runs as, empty for root")
	most := flags.Int64("most", 0, "with -check: how many bytes the archive may have")
	compared := flags.String("compare", "", "hold the image in this archive to be what the one of -with is, and do nothing else")
	with := flags.String("with", "", "with -compare: the other archive")
	where := folders{"": "."}
	flags.Func("context", "folder that COPY and ADD read (default the current one)", func(v string) error {
		where[""] = v
		return nil
	})
	flags.Func("from", "STAGE=FOLDER: what COPY --from=STAGE reads; can be repeated", where.add)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *digest != "" {
		return printID(*digest)
	}
	if *held != "" {
		if err := check(*held, promise{*arch, *user, *most}); err != nil {
			return fmt.Errorf("%s: %w", *held, err)
		}
		return nil
	}
	if *compared != "" {
		if err := compare(*compared, *with); err != nil {
			return fmt.Errorf("%s: %w", *compared, err)
		}
		return nil
	}
	ref, err := name.NewTag(*tag)
	if err != nil {
		return fmt.Errorf("read -t: %w", err)
	}
	if *out == "" {
		return errors.New("-o names no archive")
	}
	if err := build(*file, where, *arch, ref, *out); err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	return nil
}

// build writes the archive; whoever reads it meanwhile reads the old one.
func build(file string, where folders, arch string, ref name.Tag, out string) (err error) {
	text, err := read(file)
	if err != nil {
		return err
	}
	recipe, err := parse(string(text))
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(filepath.Dir(out), ".image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	image, err := assemble(recipe, where, arch, scratch)
	if err != nil {
		return err
	}
	fresh := filepath.Join(scratch, "archive")
	if err := tarball.WriteToFile(fresh, ref, image); err != nil {
		return err
	}
	return os.Rename(fresh, out)
}

// read reads a file, or what is piped in where it is called -.
func read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file)
}

// folders is where files come from, by stage; "" is the build's own context.
type folders map[string]string

func (f folders) add(v string) error {
	stage, folder, ok := strings.Cut(v, "=")
	if !ok || stage == "" || folder == "" {
		return errors.New("want STAGE=FOLDER")
	}
	f[stage] = folder
	return nil
}

func printID(archive string) error {
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return err
	}
	id, err := image.ConfigName()
	if err != nil {
		return err
	}
	fmt.Println(id)
	return nil
}
