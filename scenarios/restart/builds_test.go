package restart

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const module = "github.com/weir-lb/weir"

// change is a replacement in a source file of weir, by which another version of
// it is made: one that CI has, whatever history its clone has.
type change struct{ file, old, new string }

// anotherProgram has BPF programs with one more instruction, that does nothing:
// the kernel takes them for others.
var anotherProgram = []change{
	{"bpf/load.go", "return loadTc()", "return longer(loadTc())"},
	{"bpf/load.go", "return loadXdp()", "return longer(loadXdp())"},
	{"bpf/load.go", "return loadEgress()", "return longer(loadEgress())"},
	{"bpf/load.go", "// LoadTC parses", `func longer(c *ebpf.CollectionSpec, err error) (*ebpf.CollectionSpec, error) {
	if err != nil {
		return nil, err
	}
	for name, p := range c.Programs {
		if name == ProgramClock {
			continue
		}
		more := asm.Mov.Imm(asm.R0, 0)
		more.Metadata = p.Instructions[0].Metadata
		p.Instructions[0].Metadata = asm.Metadata{}
		p.Instructions = append(asm.Instructions{more}, p.Instructions...)
	}
	return c, nil
}

// LoadTC parses`},
	{"bpf/load.go", `import "github.com/cilium/ebpf"`, `import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)`},
}

// build makes weir of sources with these changes and returns its path.
func build(ctx context.Context, version string, changes []change) string {
	GinkgoHelper()
	root, err := filepath.Abs("../..")
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	sources := map[string]string{}
	for _, c := range changes {
		path := filepath.Join(root, c.file)
		if sources[path] == "" {
			original, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())
			sources[path] = string(original)
		}
		Expect(strings.Count(sources[path], c.old)).To(Equal(1), "%q in %s", c.old, c.file)
		sources[path] = strings.Replace(sources[path], c.old, c.new, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, source := range sources {
		changed := filepath.Join(dir, filepath.Base(path))
		Expect(os.WriteFile(changed, []byte(source), 0o600)).To(Succeed())
		overlay.Replace[path] = changed
	}
	list, err := json.Marshal(overlay)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600)).To(Succeed())
	binary := filepath.Join(dir, "weir")
	out, err := exec.CommandContext(ctx, "go", "build", "-overlay", filepath.Join(dir, "overlay.json"),
		"-ldflags", "-X "+module+"/cmd/internal/version.stamp="+version, "-o", binary, module+"/cmd/weir").CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", out)
	return binary
}
