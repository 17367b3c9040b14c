package k8s

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	recordutil "k8s.io/client-go/tools/record/util"
	"k8s.io/client-go/tools/reference"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// component is who speaks in events.
const component = "kube-weir"

// lastWords is how long what waits may take at the end: the next leader has the
// lease when this one has ended.
const lastWords = 3 * time.Second

// Events writes what `kubectl describe` shows, one after the other, as fast as
// the apiserver takes them: client-go's own broadcaster has room for 1 000 and
// drops the rest. What waits is bounded by the objects and the reasons that
// there are, since a newer event takes the place of one that still waits.
// client-go bounds how many one object gets, and counts repetitions. Safe for
// concurrent use.
type Events struct {
	cluster    *Cluster
	sink       eventSink
	correlator *record.EventCorrelator
	queue      workqueue.TypedRateLimitingInterface[about]

	mu      sync.Mutex
	waiting map[about]*pending
	last    int64 // in the name of an event, which is unique by it
}

// eventSink is the part of an apiserver that takes events.
type eventSink interface {
	CreateWithEventNamespaceWithContext(ctx context.Context, event *corev1.Event) (*corev1.Event, error)
	PatchWithEventNamespaceWithContext(ctx context.Context, event *corev1.Event, patch []byte) (*corev1.Event, error)
}

// about is what there is one event of that waits.
type about struct{ object, reason string }

// pending is an event that was not written yet.
type pending struct {
	event *corev1.Event
	// counted is set once the correlator has seen it, and what it made of it:
	// seen twice it would count as a repetition.
	counted *record.EventCorrelateResult
}

// NewEvents returns Events that write nothing before Run.
func (c *Cluster) NewEvents() *Events { return newEvents(c, c.client.CoreV1().Events("")) }

func newEvents(c *Cluster, sink eventSink) *Events {
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[about](100*time.Millisecond, 30*time.Second)
	return &Events{
		cluster: c, sink: sink, correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{}),
		queue: workqueue.NewTypedRateLimitingQueue(limit), waiting: map[about]*pending{},
	}
}

// Publish takes events of services and nodes that the snapshot has. What a
// Service's conditions say already is no news: after a restart all that was
// decided is decided again.
func (e *Events) Publish(snap controller.Snapshot, events []v1.Event) {
	if len(events) == 0 {
		return
	}
	objects := make(map[string]runtime.Object, len(snap.Services)+len(snap.Nodes))
	for _, s := range snap.Services {
		objects["service/"+keyOf(s)] = s
	}
	for _, n := range snap.Nodes {
		objects["node/"+n.Name] = n
	}
	for _, event := range events {
		if o := objects[event.Object]; o != nil && !said(o, event) {
			e.put(o, event)
		}
	}
}

// said says that a condition of the object tells the event.
func said(o runtime.Object, event v1.Event) bool {
	s, ok := o.(*corev1.Service)
	return ok && slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool {
		return ours(c) && c.Reason == event.Reason && c.Message == event.Message
	})
}

// put has an event wait for its turn.
func (e *Events) put(o runtime.Object, event v1.Event) {
	object, err := reference.GetReference(scheme.Scheme, o)
	if err != nil {
		e.cluster.opts.Log.Warn("tell an event: its object cannot be named", "object", event.Object, "error", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = max(e.last+1, time.Now().UnixNano())
	at := metav1.NewTime(event.Time)
	key := about{event.Object, event.Reason}
	e.waiting[key] = &pending{event: &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name: recordutil.GenerateEventName(object.Name, e.last),
			// A Node's are where kubectl looks for them.
			Namespace: cmp.Or(object.Namespace, metav1.NamespaceDefault),
		},
		InvolvedObject: *object, Type: event.Type, Reason: event.Reason, Message: strings.TrimSpace(event.Message),
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
		Source: corev1.EventSource{Component: component}, ReportingController: component,
	}}
	e.queue.Add(key)
}

// Run writes until ctx ends, and then what waits, for lastWords at most: the status
// of a Service may say already what its event tells, and then no other controller
// will tell it.
func (e *Events) Run(ctx context.Context) error {
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	late := time.AfterFunc(lastWords, cancel)
	late.Stop()
	defer late.Stop()
	defer context.AfterFunc(ctx, func() {
		late.Reset(lastWords)
		e.queue.ShutDown()
	})()
	for e.next(writing) {
	}
	e.finish(writing)
	return nil
}

// finish writes what had to wait for another try when the queue ended.
func (e *Events) finish(ctx context.Context) {
	e.mu.Lock()
	left := slices.Collect(maps.Values(e.waiting))
	e.mu.Unlock()
	slices.SortFunc(left, func(a, b *pending) int { return strings.Compare(a.event.Name, b.event.Name) })
	lost := 0
	for _, p := range left {
		if err := e.write(ctx, p); err != nil {
			lost++
		}
	}
	if lost > 0 {
		e.cluster.opts.Log.Warn("events are lost: the apiserver did not take them before the end", "events", lost)
	}
}

// next writes one event; false says that the queue or ctx has ended.
func (e *Events) next(ctx context.Context) bool {
	key, ended := e.queue.Get()
	if ended {
		return false
	}
	defer e.queue.Done(key)
	if ctx.Err() != nil {
		return false
	}
	e.mu.Lock()
	p := e.waiting[key]
	delete(e.waiting, key)
	e.mu.Unlock()
	if p == nil {
		return true
	}
	err := e.write(ctx, p)
	if err == nil || (ctx.Err() == nil && !again(err)) {
		if err != nil {
			e.cluster.opts.Log.Debug("event is not taken", "object", key.object, "reason", key.reason, "error", err)
		}
		e.queue.Forget(key)
		return true
	}
	e.cluster.opts.Log.Debug("write event: trying again", "object", key.object, "reason", key.reason, "error", err)
	e.mu.Lock()
	if e.waiting[key] == nil {
		e.waiting[key] = p
	}
	e.mu.Unlock()
	e.queue.AddRateLimited(key)
	return true
}

// again says that an apiserver may take later what it did not take now. One
// that judged the event does so for good: the object's namespace ends, for one.
func again(err error) bool {
	return apierrors.ReasonForError(err) == metav1.StatusReasonUnknown || apierrors.IsInternalError(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

// write writes one event, or adds to the count of one that was written.
func (e *Events) write(ctx context.Context, p *pending) (err error) {
	if p.counted == nil {
		if p.counted, err = e.correlator.EventCorrelate(p.event); err != nil {
			return err
		}
	}
	if p.counted.Skip {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	event := p.counted.Event
	var there *corev1.Event
	if event.Count > 1 {
		there, err = e.sink.PatchWithEventNamespaceWithContext(ctx, event, p.counted.Patch)
	}
	if event.Count == 1 || apierrors.IsNotFound(err) { // it was there, and ran out of its time
		event.ResourceVersion = ""
		there, err = e.sink.CreateWithEventNamespaceWithContext(ctx, event)
	}
	if err == nil {
		e.correlator.UpdateState(there)
	}
	return err
}
