package static

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// watched runs a Source over a new folder.
type watched struct {
	*testing.T
	dir     string
	updates chan controller.Update
}

func watchFolder(t *testing.T, opts Options) *watched {
	w := &watched{T: t, dir: filepath.Join(t.TempDir(), "manifests"), updates: make(chan controller.Update)}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(w.dir, opts).Run(ctx, w.updates) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	w.waitFor("the empty folder", func(u controller.Update) bool { return len(objectsOf(u)) == 0 && len(u.Problems) == 0 })
	return w
}

// waitFor takes updates until one is as wanted.
func (w *watched) waitFor(what string, ok func(controller.Update) bool) {
	w.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case u := <-w.updates:
			if ok(u) {
				return
			}
			w.Logf("waiting for %s: objects %v, problems %v", what, objectsOf(u), u.Problems)
		case <-deadline:
			w.Fatalf("no update with %s in 10 s", what)
		}
	}
}

func (w *watched) waitForObjects(want ...string) {
	w.Helper()
	w.waitFor(strings.Join(want, " "), func(u controller.Update) bool { return slices.Equal(objectsOf(u), want) })
}

func (w *watched) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
}

func (w *watched) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// noRescan makes a test see what events alone bring.
var noRescan = Options{Settle: 20 * time.Millisecond, Rescan: time.Hour}

func TestReload(t *testing.T) {
	w := watchFolder(t, noRescan)
	better := strings.Replace(goodService, "good", "better", 1)
	w.write("a.yaml", goodService)
	w.waitForObjects("Service/default/good")
	w.write("b.yml", better)
	w.waitForObjects("Service/default/good", "Service/default/better")

	// Editors write beside the file and rename over it.
	w.write(".a.yaml.swp", "half a")
	w.must(os.WriteFile(filepath.Join(w.dir, "a.yaml~"), []byte(strings.Replace(goodService, "good", "best", 1)), 0o644))
	w.must(os.Rename(filepath.Join(w.dir, "a.yaml~"), filepath.Join(w.dir, "a.yaml")))
	w.waitForObjects("Service/default/best", "Service/default/better")

	// What breaks is told and stands, the other file counts.
	w.write("a.yaml", "kind: [\n")
	w.must(os.Remove(filepath.Join(w.dir, "b.yml")))
	w.waitFor("a problem and the last good state", func(u controller.Update) bool {
		return slices.Equal(objectsOf(u), []string{"Service/default/best"}) && len(u.Problems) == 1 &&
			u.Problems[0].Object == filepath.Join(w.dir, "a.yaml")+":1" && u.Problems[0].Reason == ReasonInvalidManifest
	})
	w.must(os.Remove(filepath.Join(w.dir, "a.yaml")))
	w.waitForObjects()
}

// Kubernetes updates a mounted ConfigMap by turning a symbolic link round.
func TestReloadConfigMap(t *testing.T) {
	w := watchFolder(t, noRescan)
	for _, version := range []string{"good", "better"} {
		data := filepath.Join(w.dir, "..data_"+version)
		w.must(os.Mkdir(data, 0o755))
		w.must(os.WriteFile(filepath.Join(data, "a.yaml"), []byte(strings.Replace(goodService, "good", version, 1)), 0o644))
		w.must(os.Symlink(filepath.Base(data), filepath.Join(w.dir, "..data_tmp")))
		w.must(os.Rename(filepath.Join(w.dir, "..data_tmp"), filepath.Join(w.dir, "..data")))
		if version == "good" {
			w.must(os.Symlink(filepath.Join("..data", "a.yaml"), filepath.Join(w.dir, "a.yaml")))
		}
		w.waitForObjects("Service/default/" + version)
	}
}

// A folder that vanishes takes nothing with it, and is found when it is back.
func TestFolderVanishes(t *testing.T) {
	w := watchFolder(t, Options{Settle: 20 * time.Millisecond, Rescan: 50 * time.Millisecond})
	w.write("a.yaml", goodService)
	w.waitForObjects("Service/default/good")
	w.must(os.RemoveAll(w.dir))
	w.waitFor("a problem and the last good state", func(u controller.Update) bool {
		return slices.Equal(objectsOf(u), []string{"Service/default/good"}) && len(u.Problems) == 1 && u.Problems[0].Reason == ReasonNoFolder
	})
	aside := w.dir + ".new"
	w.must(os.Mkdir(aside, 0o755))
	w.must(os.WriteFile(filepath.Join(aside, "b.yaml"), []byte(strings.Replace(goodService, "good", "back", 1)), 0o644))
	w.must(os.Rename(aside, w.dir))
	w.waitForObjects("Service/default/back")
	// The new folder is watched as the old one was.
	w.write("b.yaml", strings.Replace(goodService, "good", "again", 1))
	w.waitForObjects("Service/default/again")
}

// A folder that never rests is read all the same.
func TestPatience(t *testing.T) {
	w := watchFolder(t, Options{Settle: time.Hour, Patience: 50 * time.Millisecond, Rescan: time.Hour})
	w.write("a.yaml", goodService)
	w.waitForObjects("Service/default/good")
}

func TestLoadSaysWhatToDo(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none"))
	if err == nil || !strings.Contains(err.Error(), "create the folder") {
		t.Errorf("got %v, want one that says to create the folder", err)
	}
}
