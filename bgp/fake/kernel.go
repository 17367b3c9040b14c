package fake

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/weir-lb/weir/bgp/fib"
)

// Kernel is a fib.Kernel in memory. It refuses what the kernel refuses: a
// second route of the same key, and a change of one that is not ours.
type Kernel struct {
	changed chan struct{}

	mu       sync.Mutex
	observed fib.Observed
	fail     error
	steps    []fib.Step
}

var _ fib.Kernel = (*Kernel)(nil)

// NewKernel returns a kernel in which o stands.
func NewKernel(o fib.Observed) *Kernel {
	return &Kernel{changed: make(chan struct{}, 1), observed: o}
}

// Edit changes what stands, and reports it to Watch.
func (k *Kernel) Edit(edit func(*fib.Observed)) {
	k.mu.Lock()
	edit(&k.observed)
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// FailSteps makes Do fail with err, nil to let it succeed again.
func (k *Kernel) FailSteps(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

// Steps returns all attempts so far.
func (k *Kernel) Steps() []fib.Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.steps)
}

// Own returns our routes, sorted by prefix.
func (k *Kernel) Own() []fib.Route {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.observed.Own)
}

// Observe implements fib.Kernel.
func (k *Kernel) Observe() (fib.Observed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.observed
	o.Own = slices.Clone(o.Own)
	return o, nil
}

// Do implements fib.Kernel.
func (k *Kernel) Do(s fib.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps = append(k.steps, s)
	if k.fail != nil {
		return k.fail
	}
	same := func(r fib.Route) bool { return r.Prefix == s.Route.Prefix && r.Metric == s.Route.Metric }
	i := slices.IndexFunc(k.observed.Own, same)
	switch {
	case s.Op == fib.Add && i >= 0:
		return errors.New("file exists")
	case s.Op != fib.Add && i < 0:
		return errors.New("no such process")
	case s.Op == fib.Delete:
		k.observed.Own = slices.Delete(k.observed.Own, i, i+1)
		return nil
	case s.Op == fib.Replace:
		k.observed.Own[i] = s.Route
		return nil
	}
	k.observed.Own = append(k.observed.Own, s.Route)
	slices.SortFunc(k.observed.Own, func(a, b fib.Route) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), a.Metric-b.Metric)
	})
	return nil
}

// Watch implements fib.Kernel.
func (k *Kernel) Watch(ctx context.Context, notify func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
			notify()
		}
	}
}
