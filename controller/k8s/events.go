package k8s

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Events writes what `kubectl describe` shows. client-go bounds their rate and
// counts repetitions.
type Events struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
}

// NewEvents starts to write in the background; Close ends that.
func (c *Cluster) NewEvents(ctx context.Context) *Events {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	return &Events{b, b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kube-weir"})}
}

// Close ends the writing.
func (e *Events) Close() { e.broadcaster.Shutdown() }

// Publish writes events of services and nodes that the snapshot has. What a
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
			e.recorder.Event(o, event.Type, event.Reason, strings.TrimSpace(event.Message))
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
