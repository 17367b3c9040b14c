package topo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Status of an instance.
type Status struct {
	ID      string
	Page    string
	Created time.Time
	// State is "kept", "owned" (by a process that runs) or "stale".
	State string
	PID   int
	Dir   string
}

// The states of an instance.
const (
	StateKept  = "kept"
	StateOwned = "owned"
	StateStale = "stale"
)

// List returns the instances below root, oldest first.
func List(root string) ([]Status, error) {
	all, err := instances(rootOr(root))
	if err != nil {
		return nil, err
	}
	var list []Status
	for _, i := range all {
		free, err := i.tryRead()
		if err != nil {
			continue // removed meanwhile
		}
		s := Status{ID: i.ID, Page: i.Page, Created: i.Created, State: StateOwned, PID: i.PID, Dir: i.dir()}
		switch {
		case i.Kept:
			s.State = StateKept
		case free:
			s.State = StateStale
		}
		list = append(list, s)
		if err := i.release(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b Status) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// Sweep removes the instances below root whose owner is dead.
func Sweep(ctx context.Context, root string) error {
	root = rootOr(root)
	unlock, err := lockRoot(root)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := instances(root)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	var errs []error
	for _, i := range all {
		if err := i.sweep(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sweep topology %s: %w", i.ID, err))
		}
	}
	return errors.Join(errs...)
}

// sweep removes the instance unless it is kept or its owner lives.
func (i *instance) sweep(ctx context.Context) error {
	if i.Kept {
		return nil
	}
	free, err := i.tryLock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its owner has just removed it
	}
	if err != nil || !free {
		return err
	}
	// The owner may have marked it as kept and gone since it was read.
	now, err := load(i.root, i.ID)
	if err == nil && now.Kept {
		return i.release()
	}
	return i.teardown(ctx)
}

// Remove takes down the instance id, which this program need not have built.
// One that a living process owns is refused: it takes itself down.
func Remove(ctx context.Context, root, id string) error {
	t, err := Open(root, id)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil {
		return removeBroken(ctx, rootOr(root), id)
	}
	free, err := t.inst.tryLock()
	if err == nil && !free {
		err = fmt.Errorf("take down topology %s: process %d owns it and is alive; end that first", id, t.inst.PID)
	}
	if err != nil {
		return errors.Join(err, t.Close())
	}
	return t.Down(ctx)
}

// removeBroken removes an instance that cannot be opened: half built, or with
// namespaces that someone else has deleted.
func removeBroken(ctx context.Context, root, id string) error {
	i, err := load(root, id)
	if err != nil {
		return err
	}
	free, err := i.tryLock()
	if err != nil {
		return err
	}
	if !free {
		return fmt.Errorf("take down topology %s: process %d owns it and is alive; end that first", id, i.PID)
	}
	return i.teardown(ctx)
}

// instances loads what is below root. A folder without a record is what a
// crash left between its creation and its record: it owns nothing yet.
func instances(root string) ([]*instance, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list topologies: %w", err)
	}
	var all []*instance
	for _, e := range entries {
		if !e.IsDir() || !idRE.MatchString(e.Name()) {
			continue
		}
		i, err := load(root, e.Name())
		if errors.Is(err, ErrNotFound) {
			i, err = &instance{root: root, record: record{ID: e.Name()}}, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}
