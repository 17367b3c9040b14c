package fib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Kernel is where routes stand. Netlink implements it.
type Kernel interface {
	// Observe returns what stands now.
	Observe() (Observed, error)
	// Do makes one change.
	Do(Step) error
	// Watch calls notify after changes of routes, links and addresses, from
	// several goroutines, until ctx ends (nil) or notifications were lost
	// (error). None of its goroutines outlives it.
	Watch(ctx context.Context, notify func()) error
}

// Back-off between attempts at a step that the kernel refuses.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Table keeps the kernel's table as it is wanted. It is not safe for
// concurrent use: the owner of the node's loop calls it.
type Table struct {
	kernel Kernel
	// ledger tells our routes from others'; nil takes all for ours that look so.
	ledger *Ledger
	// inherited are the prefixes of an earlier run; nil before the first
	// Sync, empty once they have been released.
	inherited map[netip.Prefix]bool
	failed    map[netip.Prefix]failure
}

type failure struct {
	wait    time.Duration
	retryAt time.Time
	problem Problem
}

// Result is what a Sync led to.
type Result struct {
	// Routes of ours that stand in the kernel now.
	Routes   []Route
	Problems []Problem
	// RetryAt is when Sync should be called again if nothing happens until
	// then; zero if there is no need.
	RetryAt time.Time
}

// NewTable returns a table over k whose routes are those of the ledger; with
// nil, all of protocol bgp and one of our metrics. It touches nothing before the
// first Sync.
func NewTable(k Kernel, l *Ledger) *Table {
	return &Table{kernel: k, ledger: l, failed: make(map[netip.Prefix]failure)}
}

// RetryNow forgets how long refused steps have to wait: the kernel changed.
func (t *Table) RetryNow() {
	for p, f := range t.failed {
		f.retryAt = time.Time{}
		t.failed[p] = f
	}
}

// Sync brings the kernel to w. Routes of an earlier run stay untouched until
// the first call with release, which sweeps those that w does not have. A step
// that fails is a Problem and does not stop the others; the error is for when
// nothing could be done.
func (t *Table) Sync(now time.Time, w Wanted, release bool) (Result, error) {
	observed, err := t.kernel.Observe()
	if err != nil {
		return Result{}, fmt.Errorf("read kernel routes: %w", err)
	}
	observed = observed.known(t.ledger)
	t.inherit(observed, release)
	steps, problems := Plan(Desired(w, observed.Local), observed, t.inherited)
	problems = append(problems, Bound(w, observed.Local)...)
	// The route comes first where it cannot be noted: traffic follows it.
	noted := t.ledger.note(keysOf(observed.Own, steps))
	failed := t.do(now, steps)
	t.failed = failed

	res := Result{Routes: after(observed.Own, steps, failed), Problems: problems}
	if err := errors.Join(noted, t.ledger.note(keysOf(res.Routes, nil))); err != nil && len(res.Routes) > 0 {
		res.Problems = append(res.Problems, unnoted(res.Routes[0].Prefix, err))
	}
	for _, f := range failed {
		res.Problems = append(res.Problems, f.problem)
		if res.RetryAt.IsZero() || f.retryAt.Before(res.RetryAt) {
			res.RetryAt = f.retryAt
		}
	}
	slices.SortStableFunc(res.Problems, func(a, b Problem) int { return a.Prefix.Compare(b.Prefix) })
	return res, nil
}

// known is o with those routes among the foreign ones that the ledger does not
// have.
func (o Observed) known(l *Ledger) Observed {
	own := o.Own
	o.Own, o.Foreign = nil, maps.Clone(o.Foreign)
	for _, r := range own {
		if l.has(r.key()) {
			o.Own = append(o.Own, r)
			continue
		}
		if o.Foreign == nil {
			o.Foreign = make(map[Key]string)
		}
		o.Foreign[r.key()] = "bgp"
	}
	return o
}

// keysOf names the routes, and those that the steps will make.
func keysOf(routes []Route, steps []Step) map[Key]bool {
	keys := make(map[Key]bool, len(routes))
	for _, r := range routes {
		keys[r.key()] = true
	}
	for _, s := range steps {
		if s.Op == Add {
			keys[s.Route.key()] = true
		}
	}
	return keys
}

func (t *Table) inherit(o Observed, release bool) {
	if t.inherited == nil {
		t.inherited = make(map[netip.Prefix]bool, len(o.Own))
		for _, r := range o.Own {
			t.inherited[r.Prefix] = true
		}
	}
	if release {
		clear(t.inherited)
	}
}

// do runs the steps and returns those that failed, now or earlier with time
// still to wait. What failed earlier and is not asked any more is forgotten.
func (t *Table) do(now time.Time, steps []Step) map[netip.Prefix]failure {
	failed := make(map[netip.Prefix]failure)
	for _, s := range steps {
		f, before := t.failed[s.Route.Prefix]
		if before && now.Before(f.retryAt) {
			failed[s.Route.Prefix] = f
			continue
		}
		err := t.kernel.Do(s)
		if err == nil {
			continue
		}
		f.wait = max(firstRetry, min(2*f.wait, lastRetry))
		f.retryAt = now.Add(f.wait)
		f.problem = refused(s, err)
		failed[s.Route.Prefix] = f
	}
	return failed
}

// after returns own as the steps that did not fail left it.
func after(own []Route, steps []Step, failed map[netip.Prefix]failure) []Route {
	byKey := make(map[Key]Route, len(own))
	for _, r := range own {
		byKey[r.key()] = r
	}
	for _, s := range steps {
		if _, bad := failed[s.Route.Prefix]; bad {
			continue
		}
		if s.Op == Delete {
			delete(byKey, s.Route.key())
		} else {
			byKey[s.Route.key()] = s.Route
		}
	}
	out := make([]Route, 0, len(byKey))
	for _, r := range byKey {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Route) int {
		if c := a.Prefix.Compare(b.Prefix); c != 0 {
			return c
		}
		return a.Metric - b.Metric
	})
	return out
}
