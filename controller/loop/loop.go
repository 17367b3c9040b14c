// Package loop runs the controller: it takes updates from a source, decides,
// remembers, and hands the nodes' states to who pushes them.
package loop

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/decide"
	"github.com/weir-lb/weir/controller/push"
)

// maxEvents is how many events are kept for people.
const maxEvents = 256

// Memory keeps what the next start needs; memory.File is one.
type Memory interface {
	Memory() controller.Memory
	Save(controller.Memory) error
}

// foldEvery is the least time between two looks at what nodes report.
const foldEvery = time.Second

// saveAgain is how soon a memory that could not be saved is tried again.
const saveAgain = 5 * time.Second

// Options of a Loop. All but Notify and Publish are required.
type Options struct {
	Version string
	Source  controller.Source
	Config  controller.Config
	Memory  Memory
	Pusher  *push.Pusher
	// Notify is told of events, of problems that are new, and of objects that
	// were skipped, in one of Run's goroutines. Optional.
	Notify func(events []v1.Event, problems []v1.Problem, skipped []string)
	// Publish tells the cluster what was decided on a snapshot, after the nodes
	// were told and the memory was saved: where that failed, another controller
	// may lead. Optional; it is called in one of Run's goroutines.
	Publish func(snap controller.Snapshot, services []v1.ControllerService, events []v1.Event)
}

// Loop is the running controller. Its methods are safe for concurrent use, but
// for Run.
type Loop struct {
	opts Options
	// configs holds the newest change of the configuration that Run has not
	// taken.
	configs chan change

	mu       sync.Mutex
	decision decide.Decision
	// told is the decision with what nodes report of its services.
	told     decide.Decision
	problems []v1.Problem
	events   []v1.Event
	ready    bool
}

// New returns a Loop that does nothing before Run.
func New(opts Options) *Loop {
	if opts.Notify == nil {
		opts.Notify = func([]v1.Event, []v1.Problem, []string) {}
	}
	if opts.Publish == nil {
		opts.Publish = func(controller.Snapshot, []v1.ControllerService, []v1.Event) {}
	}
	return &Loop{opts: opts, configs: make(chan change, 1)}
}

// change is another configuration, or why there is none.
type change struct {
	config   *controller.Config
	problems []v1.Problem
}

// Configure replaces the configuration that the loop was made with; nil leaves
// it. Problems are those of the configuration, and replace the ones before. One
// goroutine calls it.
func (l *Loop) Configure(config *controller.Config, problems []v1.Problem) {
	next := change{config, problems}
	select {
	case last := <-l.configs: // which Run has not seen
		if next.config == nil {
			next.config = last.config
		}
	default:
	}
	l.configs <- next
}

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	updates := make(chan controller.Update)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.opts.Source.Run(ctx, updates) })
	group.Go(func() error { return l.opts.Pusher.Run(ctx) })
	group.Go(func() error { l.work(ctx, updates); return nil })
	return group.Wait()
}

// work decides on every update, and anew on the last one when the
// configuration changes. Reports of nodes change no decision, only what is told
// of it.
func (l *Loop) work(ctx context.Context, updates <-chan controller.Update) {
	var last *controller.Update
	var config []v1.Problem
	var saved bool
	again := time.NewTimer(saveAgain)
	again.Stop()
	defer again.Stop()
	var reported <-chan struct{} // nil until the next look is due
	fold := time.NewTimer(0)
	defer fold.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-updates:
			last = &u
		case c := <-l.configs:
			if c.config != nil {
				l.opts.Config = *c.config
			}
			config = c.problems
		case <-again.C:
		case <-fold.C:
			reported = l.opts.Pusher.Reported()
			continue
		case <-reported:
			reported = nil
			fold.Reset(foldEvery)
			if last != nil {
				l.fold(last.Snapshot, saved, time.Now())
			}
			continue
		}
		if last != nil {
			u := *last
			u.Problems = slices.Concat(u.Problems, config)
			if saved = l.take(u, time.Now()); !saved {
				again.Reset(saveAgain)
			}
		}
	}
}

// take decides on an update, saves what the next start needs of it, and tells
// the nodes even where that failed: traffic waits for no disk and no apiserver,
// and nodes know an older leader by its epoch. Statuses have none, so nothing is
// published then: a ConfigMap that cannot be written may be another leader's by
// now, and the statuses with it. It says whether it could be saved.
func (l *Loop) take(u controller.Update, now time.Time) bool {
	last := l.opts.Memory.Memory()
	d := decide.Decide(u.Snapshot, l.opts.Config, last)
	problems := slices.Clone(u.Problems)
	err := l.opts.Memory.Save(d.Memory)
	if err != nil {
		problems = append(problems, v1.Problem{Object: "memory", Reason: "MemoryNotSaved", Message: err.Error()})
	}
	l.opts.Pusher.Set(targets(d.Nodes))

	told := l.withReports(d)

	l.mu.Lock()
	events := l.note(told, now)
	fresh := slices.DeleteFunc(slices.Clone(problems), func(p v1.Problem) bool { return slices.Contains(l.problems, p) })
	l.decision, l.problems, l.ready = d, problems, true
	l.mu.Unlock()

	l.opts.Notify(events, fresh, u.Skipped)
	if err == nil {
		l.opts.Publish(u.Snapshot, told.Services, events)
	}
	return err == nil
}

// fold looks at what nodes report of the services that were decided on, and
// tells what changed; the cluster only of what is saved. No node is told
// anything: what one says must not come back to it.
func (l *Loop) fold(snap controller.Snapshot, saved bool, now time.Time) {
	told := l.withReports(l.decision)
	if reflect.DeepEqual(told.Services, l.told.Services) {
		return
	}
	l.mu.Lock()
	events := l.note(told, now)
	l.mu.Unlock()
	l.opts.Notify(events, nil, nil)
	if saved {
		l.opts.Publish(snap, told.Services, events)
	}
}

func (l *Loop) withReports(d decide.Decision) decide.Decision {
	d.Services = d.Programmed(l.opts.Pusher.Reports())
	return d
}

// note keeps what is told from now on, and returns the events that lead to it;
// the caller holds the lock.
func (l *Loop) note(told decide.Decision, now time.Time) []v1.Event {
	events := decide.Events(l.told, told)
	for i := range events {
		events[i].Time = now
	}
	l.told = told
	l.events = append(l.events, events...)
	l.events = slices.Clone(l.events[max(0, len(l.events)-maxEvents):])
	return events
}

func targets(nodes []decide.Node) []push.Target {
	out := make([]push.Target, len(nodes))
	for i, n := range nodes {
		out[i] = push.Target{Name: n.Name, Address: n.Address, APIPort: n.APIPort, Role: n.Role, Active: n.Active, State: n.State}
	}
	return out
}

// Ready says that the first update was decided on.
func (l *Loop) Ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

// Status is GET /v1/controller. The slices are the caller's to read only.
func (l *Loop) Status() v1.ControllerStatus {
	l.mu.Lock()
	s := v1.ControllerStatus{
		Version: l.opts.Version, Source: l.opts.Source.String(),
		Services: l.told.Services, Pools: l.told.Pools,
		Problems: l.problems, Events: l.events,
	}
	l.mu.Unlock()
	s.Nodes = l.opts.Pusher.Status()
	return s
}
