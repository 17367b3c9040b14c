package topo

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/spec"
)

// DefaultRoot is where the state folders of instances are.
const DefaultRoot = "/run/weir-topo"

// idRE has no dash, so that weir-<id>-<node> can be read in one way only.
var idRE = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// instance is a topology's state folder. Whoever builds it holds the lock on
// its lock file; the kernel takes the lock away when that process ends, however
// it ends. A folder without lock and without the mark Kept is a crash's.
type instance struct {
	root string
	lock *os.File
	record
}

// record is what stands in instance.json.
type record struct {
	ID   string `json:"id"`
	Page string `json:"page"`
	// PID of who built it, for people.
	PID     int       `json:"pid"`
	Created time.Time `json:"created"`
	// Kept is set when the topology is to outlive who built it.
	Kept bool              `json:"kept"`
	Bin  string            `json:"bin"`
	Vars map[string]string `json:"vars"`
	// Namespaces are the names that belong to the instance.
	Namespaces []string `json:"namespaces"`
}

// create makes the folder of a new instance and locks it.
func create(root string, page *spec.Page, r record) (*instance, error) {
	unlock, err := lockRoot(root)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r.ID == "" {
		r.ID = newID()
	}
	if !idRE.MatchString(r.ID) {
		return nil, fmt.Errorf("name topology %q: use 1 to 12 of a-z and 0-9", r.ID)
	}
	for _, n := range page.Order {
		r.Namespaces = append(r.Namespaces, namespace(r.ID, n))
	}
	i := &instance{root: root, record: r}
	if err := os.Mkdir(i.dir(), 0o700); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create topology %s: it is there already; run `weir-topo down %s` or choose another --name", r.ID, r.ID)
	} else if err != nil {
		return nil, fmt.Errorf("create state folder: %w", err)
	}
	err = checkFree(r.ID, r.Namespaces)
	if err == nil {
		err = i.fill(page)
	}
	if err != nil {
		return nil, errors.Join(err, i.remove())
	}
	return i, nil
}

// checkFree refuses names that exist: they belong to a topology with another
// state folder, and what is recorded as ours would be removed as ours.
func checkFree(id string, names []string) error {
	for _, n := range names {
		if _, err := os.Stat(filepath.Join(netns.Dir, n)); err == nil {
			return fmt.Errorf("create topology %s: namespace %s is there already, of another state folder; "+
				"choose another --name, or end it with `ip netns del %s`", id, n, n)
		}
	}
	return nil
}

func (i *instance) fill(page *spec.Page) error {
	ok, err := i.tryLock()
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("lock new topology %s: taken", i.ID)
	}
	if err := os.WriteFile(i.path("page.yaml"), page.Source, 0o600); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return i.save()
}

func (i *instance) save() error {
	b, err := json.MarshalIndent(i.record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record of topology %s: %w", i.ID, err)
	}
	// Renamed into place: a crash leaves the old record or the new one.
	tmp := i.path("instance.json.new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write record of topology %s: %w", i.ID, err)
	}
	if err := os.Rename(tmp, i.path("instance.json")); err != nil {
		return fmt.Errorf("write record of topology %s: %w", i.ID, err)
	}
	return nil
}

// load reads the instance in folder id of root.
func load(root, id string) (*instance, error) {
	i := &instance{root: root, record: record{ID: id}}
	b, err := os.ReadFile(i.path("instance.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find topology %s: %w; `weir-topo list` shows what runs", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read record of topology %s: %w", id, err)
	}
	if err := json.Unmarshal(b, &i.record); err != nil {
		return nil, fmt.Errorf("read record of topology %s: %w", id, err)
	}
	return i, nil
}

func (i *instance) dir() string { return filepath.Join(i.root, i.ID) }

func (i *instance) path(elem ...string) string {
	return filepath.Join(append([]string{i.dir()}, elem...)...)
}

// tryLock takes the lock, or tells that another process has it.
func (i *instance) tryLock() (bool, error) { return i.flock(unix.LOCK_EX) }

// tryRead takes the lock beside other readers, or tells that its owner lives.
func (i *instance) tryRead() (bool, error) { return i.flock(unix.LOCK_SH) }

func (i *instance) flock(how int) (bool, error) {
	f, err := os.OpenFile(i.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, fmt.Errorf("lock topology %s: %w", i.ID, err)
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, f.Close()
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("lock topology %s: %w", i.ID, err), f.Close())
	}
	i.lock = f
	return true, nil
}

// release gives the lock back.
func (i *instance) release() error {
	if i.lock == nil {
		return nil
	}
	err := i.lock.Close()
	i.lock = nil
	return err
}

// remove deletes the folder and gives the lock back, in this order: whoever
// waits for the lock then finds nothing.
func (i *instance) remove() error {
	return errors.Join(os.RemoveAll(i.dir()), i.release())
}

// lockRoot makes root and keeps others from creating or sweeping in it.
func lockRoot(root string) (unlock func(), err error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("create %s: %w", root, err)
	}
	d, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", root, err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", root, err), d.Close())
	}
	return func() { _ = d.Close() }, nil
}

func namespace(id, node string) string { return "weir-" + id + "-" + node }

// newID returns four letters: enough for what one machine can carry.
func newID() string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789"
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}
