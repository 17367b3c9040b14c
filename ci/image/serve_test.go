package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// served starts a registry with an image, and returns its address and the digest that it printed.
func served(t *testing.T, under string) (address, digest string) {
	t.Helper()
	archive, err := made(t, dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("kindest/node:v1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	says, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := serve(ctx, stand{archive, tag, under}, "127.0.0.1:0", out)
		out.CloseWithError(io.ErrUnexpectedEOF)
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if _, err := fmt.Fscan(says, &digest, &address); err != nil {
		t.Fatal(err)
	}
	return address, digest
}

// got is what the registry answers, and its SHA-256.
func got(t *testing.T, address, path string) (status int, body []byte, digest string) {
	t.Helper()
	answer, err := http.Get("http://" + address + "/v2/kindest/node/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body, fmt.Sprintf("sha256:%x", sha256.Sum256(body))
}

func TestServe(t *testing.T) {
	address, digest := served(t, "")
	_, body, is := got(t, address, "manifests/v1")
	if is != digest {
		t.Errorf("the tag's manifest has digest %s, and %s was printed", is, digest)
	}
	if _, same, _ := got(t, address, "manifests/"+digest); string(same) != string(body) {
		t.Errorf("by its digest the manifest is %s, by its tag %s", same, body)
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(body, &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Layers) != 2 {
		t.Errorf("%d layers, want 2", len(manifest.Layers))
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		if status, b, is := got(t, address, "blobs/"+blob.Digest.String()); is != blob.Digest.String() || int64(len(b)) != blob.Size {
			t.Errorf("blob %s: status %d, %d bytes of digest %s, want %d", blob.Digest, status, len(b), is, blob.Size)
		}
	}
	for _, path := range []string{"manifests/v2", "blobs/sha256:" + strings.Repeat("0", 64)} {
		if status, _, _ := got(t, address, path); status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, status)
		}
	}
}

func TestServeUnderAnotherDigest(t *testing.T) {
	lie := "sha256:" + strings.Repeat("a", 64)
	address, digest := served(t, lie)
	if _, _, is := got(t, address, "manifests/"+lie); is != digest {
		t.Errorf("under another digest there is %s, want %s", is, digest)
	}
}
