package fib

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ledgerName is the ledger's file in a node's state folder.
const ledgerName = "routes.json"

// bootID is another one after each boot of the machine.
const bootID = "/proc/sys/kernel/random/boot_id"

// Ledger remembers over a restart which of the kernel's routes are ours: another
// speaker's look the same (protocol bgp, metric 0). A route is noted before it
// is made, so that none of ours is ever unknown. Routes do not outlive a boot,
// nor do the notes. It is not safe for concurrent use.
type Ledger struct {
	path string
	boot string
	keys map[Key]bool
}

// ledgerFile is the file's content.
type ledgerFile struct {
	Boot   string        `json:"boot"`
	Routes []ledgerRoute `json:"routes"`
}

type ledgerRoute struct {
	Prefix netip.Prefix `json:"prefix"`
	Metric int          `json:"metric"`
}

// OpenLedger reads the ledger in dir, which the caller has locked; without a
// file no route is ours. A damaged file is an error and stays as it is.
func OpenLedger(dir string) (*Ledger, error) {
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	l := &Ledger{path: filepath.Join(dir, ledgerName), boot: strings.TrimSpace(string(boot)), keys: make(map[Key]bool)}
	data, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read own routes: %w", err)
	}
	var f ledgerFile
	// A machine that dies may leave the file's name without content, or zeros in
	// its place: save does not wait for the disk. That is of an earlier boot.
	if len(bytes.Trim(data, "\x00")) > 0 {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return nil, fmt.Errorf("read own routes from %s: %w; nothing was touched: move the file away, then remove "+
			"routes of protocol bgp that nobody keeps by hand", l.path, err)
	}
	if f.Boot != l.boot {
		// The routes went with the machine's last run, and what told of them goes.
		if err := os.Remove(l.path); err != nil {
			return nil, fmt.Errorf("remove own routes of an earlier boot: %w", err)
		}
		return l, nil
	}
	for _, r := range f.Routes {
		l.keys[Key(r)] = true
	}
	return l, nil
}

// has tells whether the route is ours. Without a ledger all are that look so.
func (l *Ledger) has(k Key) bool { return l == nil || l.keys[k] }

// note makes keys all that is ours, in the file too. Without routes there is no
// file. Nothing is done where nothing changed.
func (l *Ledger) note(keys map[Key]bool) error {
	if l == nil || maps.Equal(keys, l.keys) {
		return nil
	}
	if err := l.save(keys); err != nil {
		return fmt.Errorf("note own routes: %w", err)
	}
	l.keys = keys
	return nil
}

// save replaces the file at once. It does not wait for the disk: what a crash of
// the machine takes of the file, it takes of the routes too.
func (l *Ledger) save(keys map[Key]bool) error {
	if len(keys) == 0 {
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	f := ledgerFile{Boot: l.boot}
	for k := range keys {
		f.Routes = append(f.Routes, ledgerRoute(k))
	}
	slices.SortFunc(f.Routes, func(a, b ledgerRoute) int {
		if c := a.Prefix.Compare(b.Prefix); c != 0 {
			return c
		}
		return a.Metric - b.Metric
	})
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	draft := l.path + ".new"
	if err := os.WriteFile(draft, data, 0o600); err != nil {
		_ = os.Remove(draft) // it may not be there
		return err
	}
	return os.Rename(draft, l.path)
}
