package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const dockerfile = `
# A stage that another builds.
FROM golang AS build
RUN make

FROM scratch
COPY --from=build /bin/a /bin/link \
     /usr/bin/
COPY etc /etc
ENV HOME=/tmp
USER 65532:65532
STOPSIGNAL SIGRTMIN+3
LABEL org.opencontainers.image.title="a thing"
ENTRYPOINT ["/usr/bin/a", "--flag"]
`

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// made runs the command and returns the archive.
func made(t *testing.T, dockerfile string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/Dockerfile", dockerfile, 0o644)
	write(t, dir+"/context/etc/deep/conf", "x", 0o600)
	write(t, dir+"/built/bin/a", "program", 0o755)
	if err := os.Symlink("a", dir+"/built/bin/link"); err != nil {
		t.Fatal(err)
	}
	out := dir + "/out.tar"
	return out, run([]string{"-f", dir + "/Dockerfile", "-context", dir + "/context", "-from", "build=" + dir + "/built",
		"-t", "weir:test", "-arch", "arm64", "-o", out})
}

func TestImage(t *testing.T) {
	archive, err := made(t, dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.Architecture != "arm64" || c.OS != "linux" || c.Config.User != "65532:65532" || c.Config.StopSignal != "SIGRTMIN+3" ||
		!slices.Equal(c.Config.Entrypoint, []string{"/usr/bin/a", "--flag"}) || !slices.Equal(c.Config.Env, []string{path, "HOME=/tmp"}) ||
		c.Config.Labels["org.opencontainers.image.title"] != "a thing" {
		t.Errorf("configuration %+v", c)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, names(t, r)...)
	}
	want := []string{"usr/", "usr/bin/", "usr/bin/a", "usr/bin/link -> a", "etc/", "etc/deep/", "etc/deep/conf"}
	if !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	for _, row := range []struct{ said, want []string }{
		{nil, []string{path}},
		{[]string{"A=b", "AB=c"}, []string{path, "A=b", "AB=c"}},
		{[]string{"A=b", "PATH=/bin", "A=c"}, []string{"PATH=/bin", "A=c"}},
	} {
		if got := environment(row.said); !slices.Equal(got, row.want) {
			t.Errorf("%q: %q, want %q", row.said, got, row.want)
		}
	}
}

func names(t *testing.T, r io.ReadCloser) []string {
	t.Helper()
	defer r.Close()
	var all []string
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s is owned by %d and of %v", h.Name, h.Uid, h.ModTime)
		}
		if h.Linkname != "" {
			h.Name += " -> " + h.Linkname
		}
		all = append(all, h.Name)
	}
}

func TestSameFilesSameBytes(t *testing.T) {
	var archives [2]string
	for i := range archives {
		file, err := made(t, dockerfile)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = string(b)
	}
	if archives[0] != archives[1] {
		t.Error("two builds of the same files differ")
	}
}

func TestRefused(t *testing.T) {
	for name, row := range map[string]struct{ dockerfile, words string }{
		"a base":         {"FROM debian\nRUN x\n", "only scratch"},
		"no stage":       {"", "only scratch"},
		"a command":      {"FROM scratch\nRUN make\n", "not known"},
		"a shell":        {"FROM scratch\nENTRYPOINT weir --bgp\n", "no shell"},
		"a missing file": {"FROM scratch\nCOPY none /\n", "build it first"},
		"another stage":  {"FROM scratch\nCOPY --from=other a /\n", "say -from other=FOLDER"},
		"ownership":      {"FROM scratch\nCOPY --chown=1 etc /\n", "only COPY --from"},
		"two labels":     {"FROM scratch\nLABEL a=\"b\" c=\"d\"\n", `one KEY="VALUE"`},
		"a plain label":  {"FROM scratch\nLABEL a=b\n", `one KEY="VALUE"`},
		"a quoted entry": {"FROM scratch\nENV A=\"b c\"\n", "want NAME=VALUE"},
		"a blank entry":  {"FROM scratch\nENV A b\n", "want NAME=VALUE"},
		"two to a name":  {"FROM scratch\nCOPY --from=build bin/a bin/link /usr\n", "end it in a slash"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := made(t, row.dockerfile); err == nil || !strings.Contains(err.Error(), row.words) {
				t.Errorf("%v, want something about %q", err, row.words)
			}
		})
	}
}
