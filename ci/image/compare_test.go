package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pair is two images of the same page and files, one of them changed: by its page, its files, or as Docker configures it.
func pair(t *testing.T, page string, change func(folder string) error, docker func(*v1.Config)) (changed, same string) {
	t.Helper()
	const as = "FROM scratch\nCOPY bin /bin/\nENV A=b\nLABEL kind=\"a thing\"\nUSER 1:1\nENTRYPOINT [\"/bin/a\"]\n"
	ref, err := name.NewTag("hello:1")
	if err != nil {
		t.Fatal(err)
	}
	var archives [2]string
	for i := range archives {
		dir := t.TempDir()
		write(t, dir+"/bin/a", "program", 0o755)
		text := as
		if i == 0 && page != "" {
			text = page
		}
		if i == 0 && change != nil {
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
		}
		write(t, dir+"/Dockerfile", text, 0o644)
		archives[i] = filepath.Join(dir, "image.tar")
		if err := build(dir+"/Dockerfile", folders{"": dir}, "arm64", ref, archives[i]); err != nil {
			t.Fatal(err)
		}
	}
	if docker != nil {
		configure(t, archives[0], ref, docker)
	}
	return archives[0], archives[1]
}

// configure writes an archive anew with another configuration.
func configure(t *testing.T, archive string, ref name.Tag, docker func(*v1.Config)) {
	t.Helper()
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	docker(&file.Config)
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive+".new", ref, image); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(archive+".new", archive); err != nil {
		t.Fatal(err)
	}
}

func TestCompareFindsWhatAContainerWouldSee(t *testing.T) {
	const rest = "ENV A=b\nLABEL kind=\"a thing\"\nUSER 1:1\nENTRYPOINT [\"/bin/a\"]\n"
	for what, row := range map[string]struct {
		page   string
		change func(folder string) error
		docker func(*v1.Config)
		says   string // empty for nothing
	}{
		"the same": {},
		"as Docker notes it": {docker: func(c *v1.Config) {
			c.Image, c.WorkingDir, c.Volumes = "sha256:1", "/", map[string]struct{}{}
		}},
		"other bytes": {change: func(dir string) error { return os.WriteFile(dir+"/bin/a", []byte("Program"), 0o600) },
			says: "/bin/a is type 0, mode 755"},
		"another mode": {change: func(dir string) error { return os.Chmod(dir+"/bin/a", 0o700) }, says: "mode 700"},
		"a link":       {change: func(dir string) error { return os.Symlink("a", dir+"/bin/b") }, says: "/bin/b is there"},
		"a file less":  {page: "FROM scratch\nCOPY bin /else/\n" + rest, says: "/bin/a is not there"},
		"another user": {docker: func(c *v1.Config) { c.User = "" }, says: `User is not there`},
		"more environment": {docker: func(c *v1.Config) { c.Env = append(c.Env, "B=c") },
			says: `"A=b","B=c"], in`},
		"another entry point": {docker: func(c *v1.Config) { c.Entrypoint = []string{"/bin/b"} }, says: `Entrypoint is ["/bin/b"]`},
		"a label less":        {docker: func(c *v1.Config) { c.Labels = nil }, says: "Labels is not there"},
		"elsewhere":           {docker: func(c *v1.Config) { c.WorkingDir = "/bin" }, says: `WorkingDir is "/bin"`},
	} {
		t.Run(what, func(t *testing.T) {
			changed, same := pair(t, row.page, row.change, row.docker)
			err := compare(changed, same)
			if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v, want %q", err, row.says)
			}
		})
	}
}

func TestCompareFindsAnotherPlatform(t *testing.T) {
	image, _ := pair(t, "", nil, nil)
	ref, err := name.NewTag("hello:1")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(image), "other.tar")
	if err := build(filepath.Join(filepath.Dir(image), "Dockerfile"), folders{"": filepath.Dir(image)}, "amd64", ref, other); err != nil {
		t.Fatal(err)
	}
	if err := compare(image, other); err == nil || !strings.Contains(err.Error(), "platform is linux/arm64") {
		t.Errorf("%v, want something about the platform", err)
	}
}
