package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const vagrant = "../../deploy/vagrant"

// TestVagrantfileParses has Ruby read it; Vagrant itself is nowhere in CI.
func TestVagrantfileParses(t *testing.T) {
	if out, err := exec.Command("ruby", "-c", filepath.Join(vagrant, "Vagrantfile")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestVagrantAppliesTheArticle: the machines get deploy/article and nothing of their own, all of it.
func TestVagrantAppliesTheArticle(t *testing.T) {
	own, err := filepath.Glob(filepath.Join(vagrant, "*.y*ml"))
	if err != nil || len(own) > 0 {
		t.Errorf("it has manifests of its own: %q (%v)", own, err)
	}
	config, err := os.ReadFile(filepath.Join(vagrant, "config.sh"))
	if err != nil {
		t.Fatal(err)
	}
	loop := regexp.MustCompile(`for file in (.+); do`).FindSubmatch(config)
	if loop == nil {
		t.Fatal("config.sh applies nothing")
	}
	applied := strings.Fields(string(loop[1]))
	slices.Sort(applied)
	files, err := filepath.Glob("../../deploy/article/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		want = append(want, strings.TrimSuffix(filepath.Base(f), ".yml"))
	}
	slices.Sort(want)
	if !slices.Equal(applied, want) {
		t.Errorf("config.sh applies %q, deploy/article has %q", applied, want)
	}
	page, err := os.ReadFile(filepath.Join(vagrant, "Vagrantfile"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), `synced_folder "../article", "/deploy/article"`) {
		t.Error("the Vagrantfile does not hand deploy/article to the machines")
	}
}
