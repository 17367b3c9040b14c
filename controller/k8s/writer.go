package k8s

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

const (
	// writersAtOnce is how many objects are written at a time. Four are enough for the client's 200 requests a second where
	// one takes 20 ms; more of them would have an apiserver that is slower yet do nothing else, and what changes meanwhile
	// would come later.
	writersAtOnce = 4
	// What nodes say of a Service may change from one second to the next, and
	// comes from one node after the other: so many times in such a time it is
	// written.
	programmedWrites = 4
	programmedWithin = time.Minute
	// releasePoll is how often the nodes are looked at for a Service to go.
	releasePoll = 50 * time.Millisecond
)

// WriterOptions of a Writer. Mark and Behind are required; push.Pusher has them.
type WriterOptions struct {
	// Mark names all that nodes were told to do so far.
	Mark func() uint64
	// Behind lists the nodes that have not accepted all of it.
	Behind func(mark uint64) []string
	// Release is how long nodes that do not answer hold a deleted Service.
	// Optional; zero means 30 s, as long as the Pusher tries a node that left.
	Release time.Duration
}

// Writer writes decisions to the cluster: finalizers and status of Services.
// Publish says what they should be; Run writes what they lack, and tries again
// what failed. Safe for concurrent use.
type Writer struct {
	cluster *Cluster
	opts    WriterOptions
	queue   workqueue.TypedRateLimitingInterface[string]

	mu      sync.Mutex
	objects map[string]*corev1.Service
	decided map[string]*v1.ControllerService
	// written are objects as the last write left them, until the watch brings
	// something else than what the write replaced.
	written map[string]written
	// programmed counts how often what nodes say of a Service was written.
	programmed map[string]rewrites
	// leaving are Services that wait for the nodes.
	leaving map[string]leave
	// complete are Services that lacked nothing when they were looked at last, but
	// for what waits in the queue: with each endpoint that changes all are looked at.
	complete map[string]complete
}

// complete is an object that lacks nothing of what was decided.
type complete struct {
	object     *corev1.Service
	addresses  []netip.Addr
	conditions []v1.Condition
}

// of says that neither the object nor what it is compared with has changed.
func (c complete) of(o *corev1.Service, decided *v1.ControllerService) bool {
	return c.object == o && decided != nil &&
		slices.Equal(c.addresses, decided.ExternalIPs) && slices.Equal(c.conditions, decided.Conditions)
}

// written is an object that took the place of some versions.
type written struct {
	versions []string
	object   *corev1.Service
}

// leave is what a Service that goes waits for, and since when.
type leave struct {
	mark  uint64
	since time.Time
}

// rewrites are writes that replaced what the cluster was told, since the first
// of them.
type rewrites struct {
	since time.Time
	count int
}

// NewWriter returns a Writer that writes nothing before Run.
func (c *Cluster) NewWriter(o WriterOptions) *Writer {
	o.Release = cmp.Or(o.Release, 30*time.Second)
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 30*time.Second)
	return &Writer{
		cluster: c, opts: o, queue: workqueue.NewTypedRateLimitingQueue(limit),
		objects: map[string]*corev1.Service{}, decided: map[string]*v1.ControllerService{},
		written: map[string]written{}, programmed: map[string]rewrites{}, leaving: map[string]leave{},
		complete: map[string]complete{},
	}
}

// Publish takes a snapshot and what was decided on it, after the nodes were
// told. The objects stay the caller's and are only read.
func (w *Writer) Publish(snap controller.Snapshot, decided []v1.ControllerService) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decided = make(map[string]*v1.ControllerService, len(decided))
	for i := range decided {
		w.decided[decided[i].Namespace+"/"+decided[i].Name] = &decided[i]
	}
	w.objects = make(map[string]*corev1.Service, len(snap.Services))
	for _, o := range snap.Services {
		w.take(keyOf(o), o)
	}
	forgetGone(w.written, w.objects)
	forgetGone(w.leaving, w.objects)
	forgetGone(w.complete, w.objects)
	for key, r := range w.programmed {
		if time.Since(r.since) >= programmedWithin {
			delete(w.programmed, key)
		}
	}
}

// forgetGone deletes from m what is of no object any more.
func forgetGone[V any](m map[string]V, objects map[string]*corev1.Service) {
	maps.DeleteFunc(m, func(key string, _ V) bool { return objects[key] == nil })
}

// lacks is what an object lacks now of what was decided, but for what has to
// wait; the caller holds the lock.
func (w *Writer) lacks(key string, o *corev1.Service) change {
	var wait time.Duration
	if r := w.programmed[key]; r.count >= programmedWrites {
		wait = programmedWithin - time.Since(r.since)
	}
	decided := paced(o, w.decided[key], wait > 0)
	if wait > 0 && decided != w.decided[key] {
		w.queue.AddAfter(key, wait)
	}
	return lacks(o, decided, metav1.Now())
}

// take looks at one object of a snapshot; the caller holds the lock.
func (w *Writer) take(key string, o *corev1.Service) {
	if last, ok := w.written[key]; ok {
		if last.replaced(o.ResourceVersion) {
			o = last.object // the watch is behind
		} else {
			delete(w.written, key)
		}
	}
	w.objects[key] = o
	decided := w.decided[key]
	if w.complete[key].of(o, decided) {
		return
	}
	delete(w.complete, key)
	c := w.lacks(key, o)
	if c.empty() && decided != nil {
		w.complete[key] = complete{o, decided.ExternalIPs, decided.Conditions}
	}
	if _, waits := w.leaving[key]; c.release && !waits {
		w.leaving[key] = leave{w.opts.Mark(), time.Now()}
	} else if !c.release {
		delete(w.leaving, key)
	}
	if !c.empty() {
		w.queue.Add(key)
	}
}

func (w written) replaced(version string) bool {
	return slices.Contains(w.versions, version)
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.queue.ShutDown)()
	var running sync.WaitGroup
	for range writersAtOnce {
		running.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	running.Wait()
	return nil
}

// next writes one object; false says that the queue has ended.
func (w *Writer) next(ctx context.Context) bool {
	key, ended := w.queue.Get()
	if ended {
		return false
	}
	defer w.queue.Done(key)
	wait, err := w.write(ctx, key)
	switch {
	case ctx.Err() != nil, apierrors.IsNotFound(err):
		w.queue.Forget(key)
	case err == nil:
		w.queue.Forget(key)
		if wait {
			w.queue.AddAfter(key, releasePoll)
		}
	case apierrors.IsConflict(err):
		// Somebody else wrote it: the watch brings that, and with it a new try.
		// Should it have come already, this one does.
		w.queue.AddRateLimited(key)
	default:
		w.cluster.opts.Log.Warn("write service: trying again", "service", key, "error", err)
		w.queue.AddRateLimited(key)
	}
	return true
}

// write writes what an object lacks now. wait says that it must be looked at
// again, for nodes are behind.
func (w *Writer) write(ctx context.Context, key string) (wait bool, err error) {
	w.mu.Lock()
	o := w.objects[key]
	var c change
	if o != nil {
		c = w.lacks(key, o)
	}
	going := w.leaving[key]
	w.mu.Unlock()
	if c.release && !w.released(key, going) {
		c.meta, wait = nil, true
	}
	if c.empty() {
		return wait, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	result, err := w.apply(ctx, o, c)
	if len(result.versions) > 0 {
		w.mu.Lock()
		w.note(key, o, result)
		w.mu.Unlock()
	}
	if err != nil {
		return false, fmt.Errorf("write service %s: %w", key, err)
	}
	return wait, nil
}

// note keeps what a write made of an object; the caller holds the lock.
func (w *Writer) note(key string, o *corev1.Service, result written) {
	if w.objects[key] == o {
		if last, ok := w.written[key]; ok && last.object == o {
			// Of all that the watch has not brought yet.
			result.versions = slices.Concat(last.versions, result.versions)
		}
		w.objects[key], w.written[key] = result.object, result
	}
	if rewrote(o, result.object) {
		r := w.programmed[key]
		if time.Since(r.since) >= programmedWithin {
			r = rewrites{since: time.Now()}
		}
		r.count++
		w.programmed[key] = r
	}
}

// released says that no node which answers serves a Service any more.
func (w *Writer) released(key string, l leave) bool {
	behind := w.opts.Behind(l.mark)
	if len(behind) == 0 {
		return true
	}
	if time.Since(l.since) < w.opts.Release {
		return false
	}
	w.cluster.opts.Log.Warn("service is let go though nodes have not answered; they are told when they do",
		"service", key, "nodes", strings.Join(behind, ", "))
	return true
}
