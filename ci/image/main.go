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
//	image -serve node.tar -t kindest/node:v1 -listen 127.0.0.1:5000      a registry with this image, until it is
//	                                                                     interrupted; prints its digest and address
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

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
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	switch {
	case o.digest != "":
		return printID(o.digest)
	case o.check != "":
		return about(o.check, check(o.check, promise{o.arch, o.user, o.most}))
	case o.compare != "":
		return about(o.compare, compare(o.compare, o.with))
	}
	ref, err := name.NewTag(o.tag)
	if err != nil {
		return fmt.Errorf("read -t: %w", err)
	}
	switch {
	case o.serve != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return about(o.serve, serve(ctx, stand{o.serve, ref, o.under}, o.listen, os.Stdout))
	case o.out == "":
		return errors.New("-o names no archive")
	}
	return about(o.file, build(o.file, o.where, o.arch, ref, o.out))
}

// about says which file an error is of.
func about(file string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// options are what the command line says.
type options struct {
	file, tag, out, arch          string
	where                         folders
	digest, check, compare, serve string // each an archive that something else is done with
	user, with, listen, under     string
	most                          int64
}

func parseOptions(args []string) (options, error) {
	o := options{where: folders{"": "."}}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&o.file, "f", "Dockerfile", "the Dockerfile, - for what is piped in")
	flags.StringVar(&o.tag, "t", "", "NAME:TAG of the image")
	flags.StringVar(&o.out, "o", "", "archive to write")
	flags.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture of the programs: amd64 or arm64")
	flags.Func("context", "folder that COPY and ADD read (default the current one)", func(v string) error {
		o.where[""] = v
		return nil
	})
	flags.Func("from", "STAGE=FOLDER: what COPY --from=STAGE reads; can be repeated", o.where.add)
	flags.StringVar(&o.digest, "digest", "", "print the id of the image in this archive, and do nothing else")
	flags.StringVar(&o.check, "check", "", "hold the image in this archive to -arch, -user and -most, and to static programs, and do nothing else")
	flags.StringVar(&o.user, "user", "", "with -check: whom it runs as, empty for root")
	flags.Int64Var(&o.most, "most", 0, "with -check: how many bytes the archive may have")
	flags.StringVar(&o.compare, "compare", "", "hold the image in this archive to be what the one of -with is, and do nothing else")
	flags.StringVar(&o.with, "with", "", "with -compare: the other archive")
	flags.StringVar(&o.serve, "serve", "", "be a registry with the image in this archive, called as -t says, and do nothing else")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:5000", "with -serve: address of the registry")
	flags.StringVar(&o.under, "under", "", "with -serve: a digest that is not the image's and that it is handed out for besides")
	return o, flags.Parse(args)
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
