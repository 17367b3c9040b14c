package manifests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	all := strings.Fields(string(loop[1]))
	if want, _ := applied(t); !slices.Equal(all, want) {
		t.Errorf("config.sh applies %q, the article %q", all, want)
	}
	slices.Sort(all)
	files, err := filepath.Glob("../../deploy/article/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		want = append(want, strings.TrimSuffix(filepath.Base(f), ".yml"))
	}
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("config.sh applies %q, deploy/article has %q", all, want)
	}
	page, err := os.ReadFile(filepath.Join(vagrant, "Vagrantfile"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), `synced_folder "../article", "/deploy/article"`) {
		t.Error("the Vagrantfile does not hand deploy/article to the machines")
	}
}

// machine is one that a Vagrantfile asks for.
type machine struct {
	Name, Hostname string
	Networks       []struct{ Kind, IP, Netmask string }
	Scripts        []struct{ Kind, Path string }
}

func machines(t *testing.T, vagrantfile string) []machine {
	t.Helper()
	cmd := exec.Command("ruby", "testdata/machines.rb", vagrantfile)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // WORKERS is the user's
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []machine
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return all
}

// TestVagrantMakesTheArticlesMachines: names, addresses and scripts are the article's.
// Box, memory and processors are not: weir needs Linux 6.1.
func TestVagrantMakesTheArticlesMachines(t *testing.T) {
	theirs, our := machines(t, filepath.Join(quoted, "Vagrantfile")), machines(t, filepath.Join(vagrant, "Vagrantfile"))
	if diff := cmp.Diff(theirs, our); diff != "" || len(theirs) != 4 {
		t.Errorf("machines (-article +ours):\n%s", diff)
	}
	for _, m := range our {
		for _, s := range m.Scripts {
			mayRun(t, s.Path)
		}
	}
	for _, script := range []string{"config.sh", "validation.sh", "rmconfig.sh"} { // the article's last commands
		mayRun(t, script)
	}
}

// mayRun says that a script of deploy/vagrant is there to be run.
func mayRun(t *testing.T, script string) {
	t.Helper()
	if info, err := os.Stat(filepath.Join(vagrant, script)); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("%s is not there to be run: %v", script, err)
	}
}

// TestVagrantsPeersAreTheArticles: the sessions that gobgp neigh shows there are with
// the machines and with the client, which bird.conf has with the same AS numbers.
func TestVagrantsPeersAreTheArticles(t *testing.T) {
	address := map[string]string{"client": "192.168.80.1"}
	for _, m := range machines(t, filepath.Join(vagrant, "Vagrantfile")) {
		address[m.Name] = m.Networks[0].IP
	}
	bird := file(t, vagrant, "bird.conf")
	seen := 0
	for _, c := range session(t) {
		if c.command != "gobgp neigh" {
			continue
		}
		seen++
		var want []string
		for name, a := range address {
			switch {
			case name == c.host:
			case name != "client":
				want = append(want, a+" 64512")
			case strings.HasPrefix(c.host, "master"):
				want = append(want, a+" 65101")
				if line := "neighbor " + address[c.host] + " as 64512;"; !strings.Contains(bird, line) {
					t.Errorf("bird.conf lacks %q", line)
				}
			}
		}
		var got []string
		for _, row := range c.rows("192.") {
			got = append(got, row[0]+" "+row[1])
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("peers of %s (-article +ours):\n%s", c.host, diff)
		}
	}
	if line := "local 192.168.80.1 as 65101;"; seen != 4 || !strings.Contains(bird, line) {
		t.Errorf("%d nodes were asked; bird.conf has %q: %t", seen, line, strings.Contains(bird, line))
	}
}
