package k8s

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// TestDeletedServiceWaitsForTheNodes follows one that is deleted: it goes when
// all nodes have dropped it, and when those that lack stay silent for too long.
func TestDeletedServiceWaitsForTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		marks, behind := uint64(7), []string{"master2"}
		c := &Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}
		w := c.NewWriter(WriterOptions{
			Mark: func() uint64 { return marks },
			Behind: func(mark uint64) []string {
				if mark != 7 {
					t.Errorf("asked about mark %d, want that of when it was deleted", mark)
				}
				return behind
			},
		})
		defer w.queue.ShutDown()
		publish := func(o *corev1.Service, decided ...v1.ControllerService) {
			w.Publish(controller.Snapshot{Services: []*corev1.Service{o}}, decided)
		}
		released := func() bool { return w.released("default/a", w.leaving["default/a"]) }

		publish(service(), *decided())
		if len(w.leaving) != 0 || w.queue.Len() != 0 {
			t.Errorf("one that is served leaves: %v", w.leaving)
		}
		publish(service(beingDeleted))
		marks = 8
		publish(service(beingDeleted)) // other things happen meanwhile
		if released() {
			t.Error("it goes while a node serves it")
		}
		behind = nil
		if !released() {
			t.Error("it stays though no node serves it")
		}
		behind = []string{"master2"}
		<-time.After(29 * time.Second)
		if released() {
			t.Error("it goes before the node was waited for")
		}
		<-time.After(time.Second)
		if !released() {
			t.Error("a node that is gone holds it for ever")
		}
		publish(service(beingDeleted, noFinalizer, unmarked))
		if len(w.leaving) != 0 {
			t.Errorf("one that was let go is still waited for: %v", w.leaving)
		}
	})
}

// TestWatchThatIsBehindIsNotAnswered holds that what was written is not written
// again, with a version that is over, before the watch has brought it.
func TestWatchThatIsBehindIsNotAnswered(t *testing.T) {
	version := func(v string) edit { return func(o *corev1.Service) { o.ResourceVersion = v } }
	w := (&Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}).NewWriter(WriterOptions{Mark: func() uint64 { return 0 }})
	defer w.queue.ShutDown()
	w.written["default/a"] = written{versions: []string{"1", "2"}, object: service(version("3"))}
	for _, row := range []struct {
		says   string
		object *corev1.Service
		queued bool
	}{
		{"as it was before", service(version("1"), noFinalizer, unmarked, noStatus), false},
		{"between the two writes", service(version("2"), noStatus), false},
		{"as it was written", service(version("3")), false},
		{"and changed by somebody else", service(version("4"), unmarked), true},
	} {
		w.Publish(controller.Snapshot{Services: []*corev1.Service{row.object}}, []v1.ControllerService{*decided()})
		if got := w.queue.Len() > 0; got != row.queued {
			t.Errorf("%s: queued %v, want %v", row.says, got, row.queued)
		}
	}
	if got := slices.Collect(func(yield func(string) bool) {
		for key := range w.written {
			yield(key)
		}
	}); len(got) != 0 {
		t.Errorf("kept of what was overtaken: %v", got)
	}
}
