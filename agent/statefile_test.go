package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

// openFile opens the state file in dir until the test ends, or it is closed.
func openFile(t *testing.T, dir string) *StateFile {
	t.Helper()
	f, err := OpenStateFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestARestartKeepsWhatEveryOwnerWants(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := openFile(t, dir)
	before := New(Options{Dataplane: &recorder{}, StateFile: f, Log: slog.New(slog.DiscardHandler)})
	// By name controller would come first: that netlox was first is remembered.
	mustPut(t, before, "netlox", withRole(withBGP(state(3, service(vip, 1), service(vip, 2)))))
	mustPut(t, before, "controller", withRole(withBGP(state(7, service(vip, 1)))))
	mustPut(t, before, "file", state(1, service(vip, 4)))
	mustPut(t, before, "file", state(2))
	mustPut(t, before, "gone", state(1, service(vip, 5)))
	if _, err := before.Delete("gone"); err != nil {
		t.Fatal(err)
	}
	// A change is kept as a whole state is.
	third := v1.NodeChange{Base: v1.Generation{Sequence: 7}, Generation: v1.Generation{Sequence: 8}, Upsert: []v1.Service{service(vip, 3)}}
	if _, err := before.Patch("controller", third); err != nil {
		t.Fatal(err)
	}
	want := before.store.Desired()
	f.Close()

	r := &recorder{}
	after := start(t, Options{Dataplane: r, Speaker: speaker{r}, StateFile: openFile(t, dir)})
	waittest.Until(t, "restored state applied", func() bool { return applied(after) && len(after.Owners()) == 3 })
	if got := after.store.Desired(); picture(got) != picture(want) || !equalGenerations(got, want) {
		t.Errorf("after the restart %s %v\nbefore %s %v", picture(got), got.Generations, picture(want), want.Generations)
	}
	if got := r.ports(); !slices.Equal(got, []uint16{1, 2, 3}) {
		t.Errorf("announced %v, want [1 2 3] without a PUT", got)
	}
	if _, err := after.Put("file", state(1, service(vip, 4))); err == nil {
		t.Error("a state older than the empty one was taken")
	}
}

func withRole(s v1.NodeState) v1.NodeState {
	s.Roles = []v1.Role{{VIP: service(vip, 1).VIP, Rank: int(s.Generation.Sequence), Nodes: 8}}
	return s
}

func equalGenerations(a, b Desired) bool {
	return fmt.Sprint(a.Generations) == fmt.Sprint(b.Generations)
}

func TestTheStateFileIsPrivateAndOneProcesss(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f := openFile(t, dir)
	if err := f.Save(Saved{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: folderMode, filepath.Join(dir, stateName): stateMode} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %s", path, info, err, want)
		}
	}
	if _, err := OpenStateFile(dir); err == nil || !strings.Contains(err.Error(), "another weir uses it") {
		t.Errorf("a second process: %v", err)
	}
	f.Close()
	openFile(t, dir)
}

func TestADamagedStateFileIsRefusedAndKept(t *testing.T) {
	good, err := new(encoder).encode(Saved{States: map[string]v1.NodeState{"controller": state(7, service(vip, 8))}})
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, want string
		content    []byte
	}{
		{"empty", "first line is not", nil},
		{"not ours", "first line is not", []byte("hello\n")},
		{"JSON, but not ours", "first line is not", []byte("{}\n{}\n")},
		{"of a later version", "it has layout 2, this version knows 1", bytes.Replace(good, []byte(`"schema":1`), []byte(`"schema":2`), 1)},
		{"cut", "length or checksum", good[:len(good)-10]},
		{"longer", "length or checksum", append(slices.Clone(good), ' ')},
		{"one digit changed", "length or checksum", bytes.Replace(good, []byte(`"port":8`), []byte(`"port":9`), 1)},
		{"an unknown field", `unknown field "colour"`, sealed(`{"owners":[],"claims":{},"colour":1}`)},
		{"no owner's name", `owner "A": owner: "A" cannot name an owner`, sealed(`{"owners":[{"owner":"A","state":{}}],"claims":{}}`)},
		{"a field that no state has", `owner "a": services[0].colour: unknown field`, sealed(`{"owners":[{"owner":"a","state":{"services":[{"colour":1}]}}],"claims":{}}`)},
		{"BGP that cannot be", `owner "a": bgp.asn: 0 is no AS number`, sealed(`{"owners":[{"owner":"a","state":{"bgp":{"asn":0}}}],"claims":{}}`)},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, stateName)
			if err := os.WriteFile(path, r.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenStateFile(dir)
			if err == nil || !strings.Contains(err.Error(), r.want) || !strings.Contains(err.Error(), "nothing was touched") || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q, the path and what to do", err, r.want)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, r.content) {
				t.Errorf("the file is %q now, %v", now, err)
			}
			// Refused, it is free: the next weir can have the folder.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			openFile(t, dir)
		})
	}
}

// sealed puts a right first line before a body.
func sealed(body string) []byte { return seal([]byte(body + "\n")) }

func TestADraftThatACrashLeftIsNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, draftName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, dir)
	if len(f.Saved().States) != 0 {
		t.Errorf("got %v from a draft", f.Saved())
	}
	if err := f.Save(Saved{States: map[string]v1.NodeState{"controller": state(1)}}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := openFile(t, dir).Saved().States["controller"].Generation.Sequence; got != 1 {
		t.Errorf("got generation %d, want 1", got)
	}
}

func TestADiskThatFailsRefusesNobody(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	r := &recorder{}
	n := start(t, Options{Dataplane: r, StateFile: openFile(t, dir)})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	mustPut(t, n, "controller", state(1, service(vip, 1)))
	waittest.Until(t, "state applied", func() bool { return applied(n) })
	c := n.Observed(context.Background()).Conditions
	if len(c) != 1 || c[0].Reason != ReasonNotSaved || !strings.Contains(c[0].Message, "a restart would forget") {
		t.Fatalf("conditions %+v, want one that says the state is not saved", c)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "state saved", func() bool { return len(n.Observed(context.Background()).Conditions) == 0 })
	data, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := decodeSaved(data); err != nil || s.States["controller"].Generation.Sequence != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
}

// FuzzDecodeSaved holds that no content of a file brings out anything but an
// error or what can be written and read again.
func FuzzDecodeSaved(f *testing.F) {
	for _, body := range []string{
		`{"owners":[],"claims":{}}`,
		`{"owners":[{"owner":"a","state":{"services":[{"vip":"192.0.2.1","port":1}]}}],"claims":{"bgp":["b","a"]}}`,
		`{"owners":[{"owner":"a","state":null},{"owner":"a"}],"claims":{"vips":[{"vip":"::1"}],"frontends":[{"port":1}]}}`,
	} {
		f.Add([]byte(body), true)
	}
	f.Add([]byte(`{"schema":1}`), false)
	f.Fuzz(func(t *testing.T, data []byte, right bool) {
		if right {
			data = seal(data)
		}
		s, err := decodeSaved(data)
		if err != nil {
			return
		}
		text, err := new(encoder).encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeSaved(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if twice, err := new(encoder).encode(again); err != nil || !bytes.Equal(text, twice) {
			t.Fatalf("%s\nis\n%s\nthe second time, %v", text, twice, err)
		}
	})
}

// A state that comes while a drained node ends does not stay behind.
func TestNothingIsSavedAfterRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f, err := OpenStateFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Save(Saved{}), f.Remove(), f.Save(Saved{})); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}
