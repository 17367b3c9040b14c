package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// hello builds a program in the folder bin: of an architecture, or with what a linker leaves to be loaded.
func hello(t *testing.T, dir, arch string, flags ...string) {
	t.Helper()
	write(t, filepath.Join(dir, "hello.go"), "package main\n\nfunc main() {}\n", 0o644)
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build"}, flags...), "-o", filepath.Join(dir, "bin", "hello"), filepath.Join(dir, "hello.go"))...)
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestCheckFindsWhatAnImageMustNotBe makes images that break one promise each.
func TestCheckFindsWhatAnImageMustNotBe(t *testing.T) {
	promised := promise{arch: "arm64", user: "65532:65532", most: 4 << 20}
	for what, row := range map[string]struct {
		arch  string   // of the program
		flags []string // of its build
		file  string   // beside it
		want  promise
		says  string // empty for nothing
	}{
		"as promised":          {"arm64", nil, "", promised, ""},
		"too big":              {"arm64", nil, "", promise{"arm64", "65532:65532", 1000}, "bytes, 1000 at most"},
		"root's":               {"arm64", nil, "", promise{"arm64", "", 4 << 20}, `runs as "65532:65532", not ""`},
		"another's":            {"arm64", nil, "", promise{"amd64", "65532:65532", 4 << 20}, "linux/arm64, not linux/amd64"},
		"of another's program": {"amd64", nil, "", promised, "is for EM_X86_64, not EM_AARCH64"},
		"dynamic":              {"arm64", []string{"-buildmode=pie"}, "", promised, "is not static: it has PT_"},
		"with more in it":      {"arm64", nil, "a note", promised, "no program"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			hello(t, dir, row.arch, row.flags...)
			if row.file != "" {
				write(t, filepath.Join(dir, "bin", "note"), row.file, 0o644)
			}
			page := filepath.Join(dir, "Dockerfile")
			write(t, page, "FROM scratch\nCOPY bin /bin/\nUSER 65532:65532\n", 0o644)
			ref, err := name.NewTag("hello:1")
			if err != nil {
				t.Fatal(err)
			}
			archive := filepath.Join(dir, "hello.tar")
			if err := build(page, folders{"": dir}, "arm64", ref, archive); err != nil {
				t.Fatal(err)
			}
			err = check(archive, row.want)
			if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v, want %q", err, row.says)
			}
		})
	}
}
