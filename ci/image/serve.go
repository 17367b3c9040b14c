package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// stand is what a registry has: an archive's image, by a tag, by its digest, and by another digest if that is not empty,
// which is a lie that whoever asks for it must notice.
type stand struct {
	archive string
	tag     name.Tag
	under   string
}

// serve is a registry until ctx ends: it prints the image's digest and its own address once it answers there, and on stderr
// what it is asked.
func serve(ctx context.Context, s stand, listen string, out io.Writer) error {
	image, err := tarball.ImageFromPath(s.archive, nil)
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: registry.New(registry.WithBlobHandler(blobs{image}), registry.Logger(log.New(os.Stderr, "", 0)))}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if err = s.announce(ctx, image, "http://"+l.Addr().String()); err == nil {
		fmt.Fprintln(out, digest, l.Addr())
		<-ctx.Done()
	}
	err = errors.Join(err, server.Close())
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}

// announce puts the manifest under its names; the registry finds its digest by itself.
func (s stand) announce(ctx context.Context, image v1.Image, address string) error {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	kind, err := image.MediaType()
	if err != nil {
		return err
	}
	for _, reference := range []string{s.tag.TagStr(), s.under} {
		if reference == "" {
			continue
		}
		url := address + "/v2/" + s.tag.RepositoryStr() + "/manifests/" + reference
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(manifest))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", string(kind))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if err := answer.Body.Close(); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusCreated {
			return fmt.Errorf("put the manifest as %s: %s", reference, answer.Status)
		}
	}
	return nil
}

// blobs are an image's layers and its configuration, read from where the image is.
type blobs struct{ image v1.Image }

// Stat is how many bytes a blob has.
func (b blobs) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	layer, err := b.layer(h)
	if err != nil {
		return 0, err
	}
	return layer.Size()
}

// Get opens a blob.
func (b blobs) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	layer, err := b.layer(h)
	if err != nil {
		return nil, err
	}
	return layer.Compressed()
}

func (b blobs) layer(h v1.Hash) (v1.Layer, error) {
	if id, err := b.image.ConfigName(); err != nil {
		return nil, err
	} else if id == h {
		return partial.ConfigLayer(b.image)
	}
	layers, err := b.image.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		if d, err := layer.Digest(); err != nil {
			return nil, err
		} else if d == h {
			return layer, nil
		}
	}
	return nil, registry.ErrNotFound
}
